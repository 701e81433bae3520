"""The table of instructions is current, and says what the decoders take."""

import json
from pathlib import Path

import pytest

from gaugeblock.gpu.simulator.isa import fidelity
from gaugeblock.gpu.simulator.isa.table import TABLE

FOLDER = Path(__file__).parents[2] / "gpu" / "simulator"


@pytest.fixture(scope="module")
def rows():
    return fidelity.rows()


def test_the_pages_are_those_that_the_decoders_give(rows):
    data = json.loads((FOLDER / "instructions.json").read_text(encoding="utf-8"))
    command = "python -m gaugeblock.gpu.simulator.isa.fidelity gpu/simulator"
    assert data == json.loads(json.dumps(fidelity.as_data(rows))), command
    assert fidelity.page(data) == (FOLDER / "instructions.md").read_text(encoding="utf-8"), command


def test_every_opcode_has_a_row_and_every_row_a_fidelity(rows):
    assert {row.opcode for row in rows} == set(TABLE)
    assert {row.fidelity for row in rows} <= {fidelity.EXACT, fidelity.LIMITED, fidelity.MODELLED}
    assert all(row.spellings for row in rows)


@pytest.mark.parametrize(
    ("spelling", "judged"),
    [
        ("add.sat.s32", "exact"),
        ("fma.rz.ftz.f32", None),  # modifiers stand in the order in which the decoder asks for them
        ("cvt.rn.satfinite.e4m3x2.f32", "exact"),
        ("ex2.approx.ftz.f32", None),
        ("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e5m2.f32", "modelled"),
        ("mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32.satfinite", "exact"),
        ("wmma.load.a.sync.aligned.row.m16n16k16.f16", "modelled"),
        ("rcp.approx.ftz.f64", None),
    ],
)
def test_known_spellings_are_in_their_row(rows, spelling, judged):
    words = sorted(spelling.split("."))
    found = {row.fidelity for row in rows for each in row.spellings if sorted(each.split(".")) == words}
    assert len(found) == 1
    assert judged in (None, *found)


@pytest.mark.parametrize(
    "spelling",
    [
        "add.cc.f32", "rem.f32", "atom.and.f32", "popc.u32", "cvt.u8.f32", "cvt.rn.e4m3x2.f32",
        "set.eq.b8.f32", "mma.sync.aligned.m16n8k16.row.col.f16.bf16.bf16.f16",
    ],
)  # fmt: skip
def test_what_is_no_instruction_is_in_none(rows, spelling):
    words = sorted(spelling.split("."))
    assert not [each for row in rows for each in row.spellings if sorted(each.split(".")) == words]
