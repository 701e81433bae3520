"""A report as a run writes it (JSON format 2), with something of everything in it."""

import zlib
from typing import Any

import pytest

from gaugeblock.conformance import Array, Problem
from gaugeblock.conformance.checks import checks_of
from gaugeblock.conformance.engine import reproduce
from gaugeblock.conformance.reports.data import LEVELS, entries, whole, within, worst
from gaugeblock.spec.operations import OPERATIONS

NAMES = (
    *("gemm", "relu", "relu_backward", "gelu", "tanh", "softmax", "maxout", "conv", "conv_transpose"),
    *("max_pool", "avg_pool", "lstm_unit"),
)
DTYPES = ("float32", "float16", "bfloat16")
ROBUST = ("strides", "output", "inputs_unchanged", "empty", "special_values")
STRICT = ("aliasing", "constraints", "output given")
MESSAGES = {
    "gemm-bfloat16-GEMM-A2": "result[3, 17] = 1024.0, want 1025.0, bound 0\n"
    "error 1 (inf times the bound)\n2 of 4160 elements are outside their bounds",
    "relu-float32-ACT-X2": "result[0] = 0.0, want nan, bound 0\n1 of 1 elements are outside their bounds",
    "conv-float16-GEN-S5": "other bits on the second call: result[0, 1, 2, 3] = 0x3c01, then 0x3c00",
    "max_pool-float32-POOL-C1": "max_pool answered a misuse instead of refusing it",
    "tanh-float16-ACT-S15": "tanh raised RuntimeError: \x1b[31m<b>&bad]]>\x1b[0m \x07\ud800 \u202eevil\n"
    "</script><script>alert(1)</script>",
}
"""Failures by case; the last is what a hostile backend might say."""


def _level(role: str) -> str:
    if role in ROBUST:
        return "robust"
    if role == "determinism":
        return "reproducible"
    return "strict" if role in STRICT else "numeric"


def _clause(case: str, clause: str) -> dict[str, Any]:
    operation, dtype, _ = case.split("-", 2)
    check = checks_of(OPERATIONS[operation])[clause]
    chance = zlib.crc32(case.encode())
    asked = 3 + chance % 29
    declined = asked // 3 if operation == "conv" and chance % 3 == 0 else 0
    verdict = "partial" if declined else "conforming"
    failure = None
    if operation == "lstm_unit" and dtype != "float32":
        verdict, declined = "unsupported", asked
    elif operation == "softmax" and check.role == "strides":
        verdict, asked = "outside", 0
    elif case in MESSAGES:
        verdict, declined = "violating", 0
        problem = Problem(operation, dtype, {"x": Array((1,), "zeros", planted=((0, float("nan")),))})
        failure = {"message": MESSAGES[case], "reproduce": reproduce("my_kernels.py", clause, problem)}
    counts = {"asked": asked, "answered": asked - declined, "declined": declined}
    small = {name: number // 2 for name, number in counts.items()}
    large = {name: number - small[name] for name, number in counts.items()}
    return {
        "level": _level(check.role),
        "verdict": verdict,
        "role": check.role,
        "examples": asked - declined,
        **counts,
        "seconds": round(chance % 997 / 1000, 3),
        "by_size": {"small": small, "large": large} if asked else {},
        "largest": "x (64, 65)" if asked else None,
        "claim": check.claim,
        "failure": failure,
    }


def _entry(operation: str, dtype: str) -> dict[str, Any]:
    checks = checks_of(OPERATIONS[operation])
    clauses = {clause: _clause(f"{operation}-{dtype}-{clause}", clause) for clause in checks}
    levels = {
        level: worst(clause["verdict"] for clause in clauses.values() if within(clause["level"], level))
        for level in LEVELS
    }
    sums = {
        name: sum(clause[name] for clause in clauses.values())
        for name in ("examples", "asked", "answered", "declined", "seconds")
    }
    softmax, conv = operation == "softmax", operation == "conv"
    return {
        "verdict": levels["numeric"],
        "levels": levels,
        "domain": {"ranks": [2], "parameters": {"axis": [-1]}, "layouts": ["packed"]} if softmax else None,
        "suggestion": 'domain = {"conv": {"relations": ["before = after"]}}' if conv else None,
        "departures": ["gelu by tanh"] if operation == "gelu" else [],
        "arithmetic": {"multiplier": "tf32"} if operation == "gemm" and dtype == "float32" else {},
        **sums,
        "seconds": round(sums["seconds"], 3),
        "worst_share_of_bound": zlib.crc32(f"{operation}-{dtype}".encode()) % 100 / 100,
        "clauses": clauses,
    }


def sample() -> dict[str, Any]:
    """Return a report on a dozen operations."""
    data: dict[str, Any] = {
        "format": 2,
        "backend": "my_kernels.py",
        "folder": "/home/someone/kernels",
        "device": "NVIDIA H200 <0>",
        "simulated": False,
        "versions": {"python": "3.11.9", "gaugeblock": "0.1.0", "numpy": "2.4.6", "my_kernels": "1 & only"},
        "environment": {"platform": "Linux-6.1-x86_64", "processor": "x86_64", "cores": 16},
        "isolation": "a process of its own, limits on memory, output and time; same user, same network",
        "seed": 20261130,
        "profile": "ci",
        "level": "numeric",
        "command": "gaugeblock conform my_kernels.py --report r.json",
        "started": "2026-11-30T20:00:00+00:00",
        "seconds": 312.4,
        "complete": True,
        "memory": {"suite": 734003200, "backend": None},
        "lacking": ["conv_fused", "lstm_unit_backward"],
        "operations": {name: {dtype: _entry(name, dtype) for dtype in DTYPES} for name in NAMES},
    }
    return {**data, "verdict": whole(data, data["level"])}


@pytest.fixture
def report() -> dict[str, Any]:
    """A report that a test may change."""
    return sample()


@pytest.fixture
def conforming_report() -> dict[str, Any]:
    """One in which everything holds, at every level."""
    data = sample()
    for _, _, entry in entries(data):
        entry["levels"] = dict.fromkeys(LEVELS, "conforming")
        entry.update(verdict="conforming", suggestion=None, answered=entry["asked"], declined=0)
        for clause in entry["clauses"].values():
            clause.update(verdict="conforming", failure=None, answered=clause["asked"], declined=0)
    return {**data, "verdict": "conforming"}
