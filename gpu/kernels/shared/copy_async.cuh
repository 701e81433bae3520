// Copies from global to shared memory that arrive later, without a register on the way; from compute capability 8.0 on.

#pragma once

// Copy SIZE bytes, 16 or 4, of which only the first `bytes` exist; the others become 0.
template <int SIZE, typename T>
__device__ __forceinline__ void copy_async(T* to, const T* from, int bytes) {
    const unsigned place = static_cast<unsigned>(__cvta_generic_to_shared(to));
    if constexpr (SIZE == 16) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(place), "l"(from), "r"(bytes) : "memory");
    } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(place), "l"(from), "r"(bytes) : "memory");
    }
}

// Wait until all of this thread's copies are there.
__device__ __forceinline__ void wait_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }
