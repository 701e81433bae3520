// The three element types, and moving them 16 bytes at a time.
//
// All arithmetic is fp32. fp16 and bf16 are storage: they are widened when read (exact) and rounded once, to
// nearest even, when written. The conversions are single instructions, spelled here as PTX so that no CUDA
// header is needed.

#pragma once

struct float16 {
    unsigned short bits;
};

struct bfloat16 {
    unsigned short bits;
};

__device__ __forceinline__ float widen(float x) { return x; }

__device__ __forceinline__ float widen(float16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}

__device__ __forceinline__ float widen(bfloat16 x) {
    return __uint_as_float(static_cast<unsigned>(x.bits) << 16);  // bf16 is the upper half of an fp32
}

template <typename T>
__device__ __forceinline__ T narrow(float x);

template <>
__device__ __forceinline__ float narrow<float>(float x) {
    return x;
}

template <>
__device__ __forceinline__ float16 narrow<float16>(float x) {
    float16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}

template <>
__device__ __forceinline__ bfloat16 narrow<bfloat16>(float x) {
    bfloat16 y;
#if __CUDA_ARCH__ >= 800
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
#else
    const unsigned bits = __float_as_uint(x);
    const unsigned rounded = bits + 0x7fffu + ((bits >> 16) & 1u);  // to nearest even; may carry into Inf
    y.bits = static_cast<unsigned short>((x != x ? 0x7fff0000u : rounded) >> 16);
#endif
    return y;
}

// 16 bytes of elements: the widest access of one thread.
template <typename T>
struct alignas(16) Vector {
    static constexpr int lanes = 16 / sizeof(T);
    T lane[lanes];
};

template <typename T>
__device__ __forceinline__ Vector<T> load_vector(const T* address) {
    const uint4 raw = *reinterpret_cast<const uint4*>(address);
    Vector<T> vector;
    if constexpr (sizeof(T) == 4) {
        vector.lane[0] = __uint_as_float(raw.x);
        vector.lane[1] = __uint_as_float(raw.y);
        vector.lane[2] = __uint_as_float(raw.z);
        vector.lane[3] = __uint_as_float(raw.w);
    } else {
        const unsigned words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            vector.lane[2 * i].bits = static_cast<unsigned short>(words[i]);
            vector.lane[2 * i + 1].bits = static_cast<unsigned short>(words[i] >> 16);
        }
    }
    return vector;
}

template <typename T>
__device__ __forceinline__ uint4 words_of(const Vector<T>& vector) {
    unsigned words[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        if constexpr (sizeof(T) == 4) {
            words[i] = __float_as_uint(vector.lane[i]);
        } else {
            words[i] = vector.lane[2 * i].bits | static_cast<unsigned>(vector.lane[2 * i + 1].bits) << 16;
        }
    }
    return make_uint4(words[0], words[1], words[2], words[3]);
}

// To global memory. Spelled as PTX since the compiler splits the store of a struct in four where its words are
// computed apart from each other, which costs four times the traffic.
template <typename T>
__device__ __forceinline__ void store_vector(T* address, const Vector<T>& vector) {
    const uint4 words = words_of(vector);
    asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(address)),
                 "r"(words.x), "r"(words.y), "r"(words.z), "r"(words.w)
                 : "memory");
}

template <typename T>
__device__ __forceinline__ bool is_vector_aligned(const T* address) {
    return (reinterpret_cast<unsigned long long>(address) & 15ull) == 0;
}
