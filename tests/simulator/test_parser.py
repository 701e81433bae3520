"""PTX text becomes the tree that it says."""

import pytest

from gaugeblock.gpu.simulator.ptx import PtxError, parse
from gaugeblock.gpu.simulator.ptx.syntax import (
    Address,
    Float,
    Instruction,
    Integer,
    Label,
    Name,
    Pair,
    Registers,
    Scope,
    Vector,
)

HEADER = ".version 8.0\n.target sm_90\n.address_size 64\n"


def body(text):
    module = parse(f"{HEADER}.visible .entry k(.param .u64 k_0)\n{{\n{text}\n}}")
    return module.functions["k"].body


def only(text):
    (statement,) = body(text)
    return statement


def test_an_instruction_keeps_opcode_modifiers_and_operands_in_order():
    found = only("fma.rn.f32 %f1, %f2, 0f3F800000, -5;")
    assert isinstance(found, Instruction)
    assert found.spelling == "fma.rn.f32"
    assert found.operands == (Name("%f1"), Name("%f2"), Float(0x3F800000, 32), Integer(-5))


@pytest.mark.parametrize(
    ("text", "value"),
    [("12", 12), ("0x1F", 31), ("0X1fU", 31), ("0b101", 5), ("017", 15), ("0", 0), ("7U", 7), ("-3", -3)],
)
def test_integers_are_read_in_every_notation(text, value):
    assert only(f"mov.u32 %r1, {text};").operands[1] == Integer(value)


@pytest.mark.parametrize(
    ("text", "offset"), [("%rd1", 0), ("%rd1+16", 16), ("%rd1+-4", -4), ("%rd1-8", -8), ("%rd1+4+4", 8)]
)
def test_addresses_add_their_offsets(text, offset):
    assert only(f"ld.global.f32 %f1, [{text}];").operands[1] == Address("%rd1", offset)


def test_a_guard_may_be_negated():
    found = only("@!%p1 bra $L1;")
    assert found.guard.register == "%p1"
    assert found.guard.negated


def test_vectors_and_pairs_are_operands():
    load = only("ld.global.v2.f32 {%f1, %f2}, [%rd1];")
    assert load.operands[0] == Vector((Name("%f1"), Name("%f2")))
    shuffle = only("shfl.sync.bfly.b32 %r1|%p1, %r2, 16, 31, -1;")
    assert shuffle.operands[0] == Pair(Name("%r1"), Name("%p1"))


def test_register_ranges_are_expanded():
    assert only(".reg .b32 %r<3>, %x;") == Registers("b32", ("%r0", "%r1", "%r2", "%x"))


def test_scopes_nest_and_labels_stand_alone():
    scope, label = body("{ .reg .pred p; { } } $L__BB0_1:")
    assert isinstance(scope, Scope)
    assert isinstance(scope.body[1], Scope)
    assert label == Label("$L__BB0_1")


def test_locations_name_the_source_line_and_its_callers():
    found = only(
        ".loc 1 7 3\n.loc 2 90 1, function_name $L__info_string0+4, inlined_at 3 5 3\nret;\n"
        ".loc 3 5 3, function_name $L__info_string1, inlined_at 1 7 3"  # LLVM names callers later, too
    )
    assert (found.location.file, found.location.line) == (2, 90)
    assert found.location.callers == ((3, 5), (1, 7))


def test_inline_assembly_is_of_one_line_of_the_source():
    assembly = "// begin inline asm\n.loc 1 7 3\nret;\n.loc 1 8 3\nret;\n// end inline asm"
    text = f".loc 1 5 0\n{assembly}\n.loc 1 9 0\nret;"
    assert [found.location.line for found in body(text)] == [7, 7, 9]
    assert [found.location.ptx_line for found in body(text)] == [9, 11, 14]


def test_special_registers_with_a_component_are_one_name():
    assert only("mov.u32 %r1, %ctaid.x;").operands[1] == Name("%ctaid.x")


def test_variables_have_sizes_alignment_and_initial_values():
    module = parse(f"{HEADER}.const .align 4 .b8 tab[8] = {{1, 2, 3}};\n.extern .shared .align 16 .b8 dyn[];")
    table, dynamic = module.variables
    assert (table.size, table.alignment, table.initial) == (8, 4, (Integer(1), Integer(2), Integer(3)))
    assert (dynamic.size, dynamic.external) == (None, True)


@pytest.mark.parametrize(
    "text", ["add.s32 %r1, %r2", "mov.u32 %r1, ?;", "ld.global.f32 %f1, [%rd1;", ".frobnicate 3;", "@%p1;"]
)
def test_what_is_not_ptx_is_refused_with_its_line(text):
    with pytest.raises(PtxError, match=r"PTX line \d+"):
        body(text)


def test_debug_sections_and_files_are_skipped_or_kept():
    module = parse(f'{HEADER}.file 1 "a/b.cu"\n.section .debug_str\n{{\n$L: .b8 1,2\n.b8 3\n}}\n')
    assert module.files == {1: "a/b.cu"}
