"""What the simulator does not know is refused when a thread reaches it, and not before."""

import pickle

import numpy as np
import pytest

from gaugeblock.gpu.simulator import Fault, Unsupported, driver, settings

MODULE = """
.global .texref image;
.global .samplerref sampler;
.global .surfref surface;
.global .attribute(.managed) .align 4 .b8 managed[4];
.extern .func (.param .b64 result) malloc (.param .b64 bytes);
.func (.param .b32 result) endless(.param .b32 value) {
    .reg .b32 %v;
    ld.param.b32 %v, [value];
    { .param .b32 a; .param .b32 r; st.param.b32 [a], %v; call (r), endless, (a); ld.param.b32 %v, [r]; }
    { .param .b32 a; .param .b32 r; st.param.b32 [a], %v; call (r), endless, (a); ld.param.b32 %v, [r]; }
    st.param.b32 [result], %v; ret;
}
.alias other, endless;
.global .align 8 .u64 table[2] = {endless, other};
.visible .entry unused() .nobodyknows 3 { ret; }
.visible .entry k(.param .u64 x, .param .align 8 .b8 map[128]) {
    .reg .b64 %x, %d<4>; .reg .b128 %q<2>; .reg .b32 %t, %r<8>; .reg .f32 %f<5>; .reg .pred %p, %never;
    .reg .b16 %h; .shared .align 16 .b8 s[256];
    ld.param.u64 %x, [x]; mov.u32 %t, %tid.x; mad.wide.u32 %x, %t, 4, %x; setp.gt.u32 %p, %t, LIMIT;
    mov.u64 %d1, endless; mov.u64 %d2, %x; mov.u32 %r1, %t; mov.u32 %r2, s; mov.f32 %f1, 0f00000000;
    mov.f32 %f2, %f1; setp.gt.u32 %never, %t, 1024;
    FORM
$done: st.global.u32 [%x], 5; ret;
}
"""

UNKNOWN = [
    "tex.2d.v4.f32.f32 {%f1, %f2, %f3, %f4}, [image, {%f1, %f2}];",
    "tex.1d.v4.f32.s32 {%f1, %f2, %f3, %f4}, [image, sampler, {%r1}];",
    "suld.b.2d.b32.trap {%r3}, [surface, {%r1, %r2}];",
    "sust.b.1d.b32.zero [surface, {%r1}], {%r2};",
    "txq.width.b32 %r3, [%d1];",
    "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
    " [%r2], [%d2, {%r1, %r1}], [%r2];",
    "cp.async.bulk.tensor.1d.global.shared::cta.bulk_group [%d2, {%r1}], [%r2];",
    "wgmma.mma_async.sync.aligned.m64n8k8.f32.tf32.tf32 {%f1, %f2, %f3, %f4}, %d1, %d2, 1, 1, 1;",
    "frob.x.u32 %r3, %r1;",
    "add.weird.u32 %r3, %r1, %r2;",
    "add.u32 %r3, %r1, %r2, %r2;",
    "shfl.sync.idx.b32 %r3, %r1, 0, 31;",
    "atom.global.cas.b128 %q0, [%x], %q1, %q1;",
    "mov.u32 %r3, %pm0;",
    "mov.u64 %d3, %current_graph_exec;",
    "{ .param .b64 a; .param .b64 r; st.param.b64 [a], %d1; call (r), malloc, (a); }",
    "{ .param .b32 a; .param .b32 r; st.param.b32 [a], %r1; call (r), endless, (a); }",
    "{ .param .b32 a; .param .b32 r; st.param.b32 [a], %r1;"
    " form : .callprototype (.param .b32 _) _ (.param .b32 _); call (r), %d1, (a), form; }",
]


def kernel(form, limit):
    text = MODULE.replace("FORM", form).replace("LIMIT", str(limit))
    module = driver.module_from_buffer(".version 8.0\n.target sm_90\n.address_size 64\n" + text)
    function = module.get_function("k")
    x = driver.to_device(np.zeros(32, np.int32))

    def launch():
        function(x, *[np.uint64(0)] * 16, block=(32, 1, 1))
        return driver.from_device(x, 32, np.int32).tolist()

    return launch


@pytest.mark.parametrize("order", ["lockstep", "lanes"])
@pytest.mark.parametrize("form", UNKNOWN)
def test_what_is_not_known_is_refused_when_it_is_reached_and_by_whom(form, order):
    with settings(order=order):
        assert kernel("@!%p bra $done;" + form, 31)() == [5] * 32
        with pytest.raises(Unsupported) as caught:
            kernel("@!%p bra $done;" + form, 20)()
    found = caught.value
    said = form.split()[0] if "call" not in form else "call"
    assert found.instruction == said
    assert f"{found.instruction}: " in found.detail
    assert "PTX line" in found.detail
    assert found.kernel == "k"
    if order == "lockstep" and "sync" not in found.instruction:
        assert found.thread == (21, 0, 0)


@pytest.mark.parametrize("form", ["frob.u32 %r3;", "mov.u32 %r3, %pm1;", "shfl.frob.b32 %r1, %r2;"])
def test_a_predicate_that_holds_for_nobody_reaches_nothing(form):
    assert kernel("@%never " + form, 0)() == [5] * 32
    with pytest.raises(Unsupported):
        kernel("@!%never " + form, 0)()


def test_it_is_no_mistake_of_the_user_and_travels_between_processes():
    with pytest.raises(Unsupported) as caught:
        kernel("frob.u32 %r3;", 0)()
    assert not isinstance(caught.value, Fault | driver.LogicError | driver.LaunchError)
    assert isinstance(caught.value, driver.Error)
    assert isinstance(caught.value, NotImplementedError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (Unsupported, str(caught.value))


@pytest.mark.parametrize(
    "mistake",
    [
        "add.u64 %d1, %d1, %r1;",
        "add.u32 %r1, %r1, %nobody;",
        "add.u32 %p, %r1, %r1;",
        "ld.global.u32 %r1, [nothing];",
        "bra $nowhere;",
        "call nobody;",
        "@%nobody bra $done;",
        "frob.u32 %r3, %nobody;",
    ],
)
def test_mistakes_are_refused_before_anything_runs(mistake):
    with pytest.raises(driver.LogicError):
        kernel(mistake, 0)


def test_a_directive_of_a_kernel_that_is_not_known_refuses_that_kernel_when_it_is_launched():
    text = ".version 8.0\n.target sm_90\n.address_size 64\n" + MODULE.replace("FORM", "")
    function = driver.module_from_buffer(text.replace("LIMIT", "1")).get_function("unused")
    with pytest.raises(Unsupported, match=r"PTX line \d+: \.nobodyknows: this directive is not supported"):
        function(block=(1, 1, 1))


def test_a_variable_that_nobody_defines_refuses_the_module():
    with pytest.raises(driver.LogicError, match="does not define the variable lost"):
        driver.module_from_buffer(
            ".version 8.0\n.target sm_90\n.extern .global .b32 lost;\n.visible .entry k() { ret; }"
        )


@pytest.mark.parametrize("text", ["hello", "", ".version 8.0\n.visible .entry k() { frob", "}"])
def test_text_that_is_no_ptx_is_refused_when_it_is_loaded(text):
    with pytest.raises(driver.LogicError):
        driver.module_from_buffer(text).get_function("k")
