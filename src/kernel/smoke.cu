// The test kernel: does what most kernels do, and nothing that any GPU or compiler since 2012 lacks.
//
// It walks its input in strides of the whole grid, shares values between the threads of a block, waits at
// barriers, and adds to one number in global memory. Everything is an integer, so the CPU's answer must be the
// same to the last bit (`reference` in kernel.rs is the same in Rust). It includes no header of its own, so what
// a compiler misses is what the compiler itself brings in.

#define BLOCK 256u

static __device__ __forceinline__ unsigned mix(unsigned value) {
    value ^= value >> 16;
    value *= 0x7feb352du;
    value ^= value >> 15;
    value *= 0x846ca68bu;
    value ^= value >> 16;
    return value;
}

extern "C" __global__ void gpu_doctor_smoke(const unsigned* in, unsigned* out, unsigned long long* total,
                                            unsigned count) {
    __shared__ unsigned tile[BLOCK];
    __shared__ unsigned long long sums[BLOCK];
    const unsigned thread = threadIdx.x;
    unsigned long long sum = 0;
    // The same number of rounds for every thread of a block: a barrier must be reached by all of them.
    for (unsigned base = blockIdx.x * BLOCK; base < count; base += gridDim.x * BLOCK) {
        const unsigned at = base + thread;
        const unsigned value = at < count ? in[at] : 0u;
        tile[thread] = mix(value + at);
        __syncthreads();
        // Of another warp: without the barrier and without shared memory it would be wrong.
        const unsigned result = tile[thread] + mix(tile[BLOCK - 1u - thread] ^ thread);
        if (at < count) {
            out[at] = result;
            sum += result;
        }
        __syncthreads();
    }
    sums[thread] = sum;
    __syncthreads();
    for (unsigned half = BLOCK / 2u; half > 0u; half /= 2u) {
        if (thread < half) {
            sums[thread] += sums[thread + half];
        }
        __syncthreads();
    }
    if (thread == 0u) {
        atomicAdd(total, sums[0]);
    }
}
