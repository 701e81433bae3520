// What the kernels of the LSTM unit share: one element of a step, and of a step back. All arithmetic is fp32.
//
// Arrays are packed. N examples, H units; the weighted data of a step, and in their place its gates, are (N, 4, H) in the
// order i, f, g, o (UNIT-D3).

#pragma once

#include "shared/element.cuh"
#include "shared/functions.cuh"

enum Gate : int { INPUT = 0, FORGET = 1, CANDIDATE = 2, OUTPUT = 3 };

struct State {
    float h, c;
};

// From activated gates and the cell before to the cell and the output (UNIT-S1).
__device__ __forceinline__ State advance(const float (&gate)[4], float before) {
    const float c = fmaf(gate[FORGET], before, gate[INPUT] * gate[CANDIDATE]);
    return {gate[OUTPUT] * tanhf(c), c};
}

struct Gradients {
    float dz[4];
    float before;  // of the cell that enters the step
};

// From the gradients of the output and the cell to those of the weighted data (UNIT-S2). The gates are activated: their
// derivatives come from their values.
__device__ __forceinline__ Gradients retreat(const float (&gate)[4], float before, float c, float dh, float dc) {
    const float t = tanhf(c);
    dc += dh * gate[OUTPUT] * fmaf(-t, t, 1.0f);
    Gradients result;
    result.dz[INPUT] = dc * gate[CANDIDATE] * (gate[INPUT] * (1.0f - gate[INPUT]));
    result.dz[FORGET] = dc * before * (gate[FORGET] * (1.0f - gate[FORGET]));
    result.dz[CANDIDATE] = dc * gate[INPUT] * fmaf(-gate[CANDIDATE], gate[CANDIDATE], 1.0f);
    result.dz[OUTPUT] = dh * t * (gate[OUTPUT] * (1.0f - gate[OUTPUT]));
    result.before = dc * gate[FORGET];
    return result;
}

// What a step reads and writes, for all N examples; gpu/unit.py packs it. The cell is handed from step to step in fp32:
// where ELEMENT is narrow, `cells` hold it beside the result.
struct Forward {
    const ELEMENT* bias;        // (4, H)
    float* z;                   // (N, 4, H): W x of this step; afterwards the gates, if the kernel saves them
    const ELEMENT* h;           // (N, H): the output before
    const ELEMENT* c;           // (N, H): the cell before, unless `before` has it
    const float* before;        // (N, H), or null
    float* cells;               // (N, H): the cell in fp32, or null; may be `before`
    ELEMENT* h_out;             // (N, H)
    ELEMENT* c_out;             // (N, H), or null
    long long N, H;
};

struct Backward {
    const float* gates;         // (N, 4, H), activated
    const ELEMENT* c;           // (N, H): the cell before, unless `before` has it
    const float* before;        // (N, H), or null
    const float* cells;         // (N, H): the cell of this step
    const ELEMENT* dy_h;        // (N, H)
    const ELEMENT* dy_c;        // (N, H)
    const float* dh;            // (N, H): what the step after sends back to the output, or null
    float* dc;                  // (N, H): what it sends to the cell; afterwards what this step sends
    const ELEMENT* dz_after;    // (N, 4, H): the gradients of the step after, or null if it is the last
    ELEMENT* dz;                // (N, 4, H): those of this step, for the step before, or null if there is none
    ELEMENT* out;               // the result's entry 0 at this step; the others are `plane` elements apart
    long long plane, N, H;
    long long last;             // whether this is the last step: nothing is read from dc
};
