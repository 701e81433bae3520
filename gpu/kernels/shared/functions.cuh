// The activation functions and their derivatives on one fp32 number.
//
// Clauses ACT-S* and ACT-X*. Each is written so that its relative error stays a few ulp wherever the function allows
// it, and so that NaN, the infinities and the kinks come out as the spec says without a special case where possible:
//
//   * exp is only taken of numbers <= 0: it cannot overflow, and e = exp(-|x|) gives both tails of a sigmoid,
//     1 / (1 + e) and e / (1 + e), without cancellation;
//   * comparisons send NaN to the branch that hands x on;
//   * where a factor vanishes at -Inf, x is first clamped to where the factor is 0 already: no Inf * 0.
//
// backward(dy, x) is the gradient: dy * f'(x), or 0 on a piece where f is constant, whatever dy is there.
//
// LOADS is how many 16-byte vectors a thread reads before it computes: more for cheap functions, whose speed is
// memory's alone.

#pragma once

struct Parameters {
    float first, second;
};

__device__ __forceinline__ float clamp_to(float x, float limit) {  // keeps NaN
    return x > limit ? limit : x < -limit ? -limit : x;
}

__device__ __forceinline__ float logistic(float x) {
    const float e = expf(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

struct relu {
    static constexpr int LOADS = 4;
    static __device__ __forceinline__ float forward(float x, Parameters) { return x <= 0.0f ? 0.0f : x; }
    static __device__ __forceinline__ float backward(float dy, float x, Parameters) {
        return x > 0.0f ? dy : x <= 0.0f ? 0.0f : x;
    }
};

struct relu6 {
    static constexpr int LOADS = 4;
    static __device__ __forceinline__ float forward(float x, Parameters) {
        return x <= 0.0f ? 0.0f : x >= 6.0f ? 6.0f : x;
    }
    static __device__ __forceinline__ float backward(float dy, float x, Parameters) {
        return x <= 0.0f || x >= 6.0f ? 0.0f : x == x ? dy : x;
    }
};

struct leaky_relu {  // first: negative_slope
    static constexpr int LOADS = 4;
    static __device__ __forceinline__ float forward(float x, Parameters p) { return x > 0.0f ? x : p.first * x; }
    static __device__ __forceinline__ float backward(float dy, float x, Parameters p) {
        return x > 0.0f ? dy : x <= 0.0f ? p.first * dy : x;
    }
};

struct elu {  // first: alpha
    static constexpr int LOADS = 2;
    static __device__ __forceinline__ float forward(float x, Parameters p) {
        return x > 0.0f ? x : p.first * expm1f(x);
    }
    static __device__ __forceinline__ float backward(float dy, float x, Parameters p) {
        return x > 0.0f ? dy : dy * (p.first * expf(x));
    }
};

struct sigmoid {
    static constexpr int LOADS = 2;
    static __device__ __forceinline__ float forward(float x, Parameters) { return logistic(x); }
    static __device__ __forceinline__ float backward(float dy, float x, Parameters) {
        const float e = expf(-fabsf(x));  // the derivative is even: e / (1 + e)^2 on both sides
        const float d = 1.0f + e;
        return dy * (e / (d * d));
    }
};

struct log_sigmoid {
    static constexpr int LOADS = 2;
    static __device__ __forceinline__ float forward(float x, Parameters) {
        return (x < 0.0f ? x : 0.0f) - log1pf(expf(-fabsf(x)));
    }
    static __device__ __forceinline__ float backward(float dy, float x, Parameters) { return dy * logistic(-x); }
};

struct hard_sigmoid {
    static constexpr int LOADS = 4;
    static __device__ __forceinline__ float forward(float x, Parameters) {
        // (x + 3) / 6 keeps its relative accuracy near -3, where x / 6 + 1/2 cancels.
        return x <= -3.0f ? 0.0f : x >= 3.0f ? 1.0f : (x + 3.0f) / 6.0f;
    }
    static __device__ __forceinline__ float backward(float dy, float x, Parameters) {
        return fabsf(x) >= 3.0f ? 0.0f : x == x ? dy / 6.0f : x;
    }
};

struct tanh_ {
    static constexpr int LOADS = 2;
    static __device__ __forceinline__ float forward(float x, Parameters) { return tanhf(x); }
    static __device__ __forceinline__ float backward(float dy, float x, Parameters) {
        // 1 - tanh^2 cancels in the tails; 4 e / (1 + e)^2 with e = exp(-2|x|) does not.
        const float e = expf(-2.0f * fabsf(x));
        const float d = 1.0f + e;
        return dy * (4.0f * e / (d * d));
    }
};

struct hard_tanh {  // first: min_val, second: max_val
    static constexpr int LOADS = 4;
    static __device__ __forceinline__ float forward(float x, Parameters p) {
        return x <= p.first ? p.first : x >= p.second ? p.second : x;
    }
    static __device__ __forceinline__ float backward(float dy, float x, Parameters p) {
        return x <= p.first || x >= p.second ? 0.0f : x == x ? dy : x;
    }
};

struct softplus {
    static constexpr int LOADS = 2;
    static __device__ __forceinline__ float forward(float x, Parameters) {
        return (x > 0.0f ? x : 0.0f) + log1pf(expf(-fabsf(x)));
    }
    static __device__ __forceinline__ float backward(float dy, float x, Parameters) { return dy * logistic(x); }
};

// GELU is x Phi(x). With z = |x| / sqrt(2), the lower tail is Phi(-|x|) = erfcx(z) exp(-x^2/2) / 2. erfcx forgives
// the rounding of z (its condition number is below 1), which erfc would amplify by 2 z^2; the exponent is as
// sensitive, so x^2 is carried as a sum of two fp32 numbers. Both tails keep their relative accuracy.
struct gelu {
    static constexpr int LOADS = 1;

    struct Tail {
        float gauss;  // exp(-x^2/2)
        float lower;  // Phi(-|x|)
    };

    static __device__ __forceinline__ Tail tail(float x) {  // |x| <= 20: beyond, both are 0
        const float square = x * x;
        const float rest = fmaf(x, x, -square);  // x^2 = square + rest, exactly
        const float g = expf(-0.5f * square);
        const float gauss = fmaf(g, -0.5f * rest, g);
        return {gauss, 0.5f * erfcxf(fabsf(x) * 0.70710678f) * gauss};
    }
    static __device__ __forceinline__ float forward(float x, Parameters) {
        const Tail t = tail(clamp_to(x, 20.0f));
        const float inner = x < -20.0f ? -20.0f : x;  // -Inf * 0 would be NaN
        return inner * (x < 0.0f ? t.lower : 1.0f - t.lower);
    }
    static __device__ __forceinline__ float backward(float dy, float x, Parameters) {
        const float inner = clamp_to(x, 20.0f);
        const Tail t = tail(inner);
        const float density = 0.39894228f * t.gauss;
        return dy * fmaf(inner, density, x < 0.0f ? t.lower : 1.0f - t.lower);
    }
};

// Its approximation 0.5 x (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2/pi) (x + 0.044715 x^3).
struct gelu_tanh {
    static constexpr int LOADS = 1;
    static constexpr float TWICE = 1.5957691216f;          // 2 sqrt(2/pi)
    static constexpr float CUBE = 0.071354816284f;         // 2 sqrt(2/pi) 0.044715
    static constexpr float CUBE_SLOPE = 0.214064448853f;   // three times that

    static __device__ __forceinline__ float forward(float x, Parameters) {
        const float inner = clamp_to(x, 20.0f);
        const float s = logistic(inner * fmaf(CUBE, inner * inner, TWICE));
        return (x < -20.0f ? -20.0f : x) * s;
    }
    static __device__ __forceinline__ float backward(float dy, float x, Parameters) {
        const float inner = clamp_to(x, 20.0f);
        const float square = inner * inner;
        const float e = expf(-fabsf(inner * fmaf(CUBE, square, TWICE)));
        const float r = 1.0f / (1.0f + e);
        const float slope = inner * fmaf(CUBE_SLOPE, square, TWICE);  // x (2u)'
        // sigmoid + x (2u)' sigmoid (1 - sigmoid), with e taken out of both terms on the left
        const float left = e * r * fmaf(slope, r, 1.0f);
        const float right = fmaf(slope * e, r, 1.0f) * r;
        return dy * (x < 0.0f ? left : right);
    }
};

struct silu {
    static constexpr int LOADS = 2;
    static __device__ __forceinline__ float forward(float x, Parameters) {
        return (x < -200.0f ? -200.0f : x) * logistic(x);
    }
    static __device__ __forceinline__ float backward(float dy, float x, Parameters) {
        const float inner = clamp_to(x, 200.0f);  // exp(-200) is 0: the limits 0 and 1 are reached
        const float e = expf(-fabsf(inner));
        const float r = 1.0f / (1.0f + e);
        const float left = e * r * fmaf(inner, r, 1.0f);
        const float right = fmaf(inner * e, r, 1.0f) * r;
        return dy * (x < 0.0f ? left : right);
    }
};
