
// The second kernel: what newer generations added, each where the compiler makes code for such a GPU, and the same
// numbers by plain means elsewhere: a sum of products of bytes (6.1), a copy from global into shared memory that
// does not wait (8.0), a sum over a warp (8.0), and the shared memory of another block of a cluster (9.0).
// It is compiled behind smoke.cu, in one piece with it. It needs an even number of blocks.

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define IN_PAIRS __cluster_dims__(2, 1, 1)
#else
#define IN_PAIRS
#endif

// far + a0 * 4 + a1 * 3 + a2 * 2 + a3 * 1, a0 being the lowest byte.
static __device__ __forceinline__ unsigned dot(unsigned value, unsigned far) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 610
    return __dp4a(value, 0x01020304u, far);
#else
    return far + (value & 255u) * 4u + ((value >> 8) & 255u) * 3u + ((value >> 16) & 255u) * 2u + (value >> 24);
#endif
}

extern "C" __global__ void IN_PAIRS gpu_doctor_generation(const unsigned* in, unsigned* out,
                                                          unsigned long long* total, unsigned count) {
    __shared__ unsigned tile[BLOCK];
    const unsigned thread = threadIdx.x;
    const unsigned odd = blockIdx.x & 1u;
    unsigned long long sum = 0;
    // Both blocks of a pair make the same number of rounds, as they wait for each other.
    for (unsigned pair = (blockIdx.x - odd) * BLOCK; pair < count; pair += gridDim.x * BLOCK) {
        const unsigned at = pair + odd * BLOCK + thread;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
        const unsigned own = (unsigned)__cvta_generic_to_shared(&tile[thread]);
        if (at < count) {
            asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(own), "l"(in + at) : "memory");
        } else {
            tile[thread] = 0u;
        }
        asm volatile("cp.async.wait_all;" ::: "memory");
#else
        tile[thread] = at < count ? in[at] : 0u;
#endif
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
        asm volatile("barrier.cluster.arrive;\n\tbarrier.cluster.wait;" ::: "memory");
        unsigned there, far;
        asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(own), "r"(odd ^ 1u));
        asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(far) : "r"(there) : "memory");
#else
        __syncthreads();
        const unsigned far = (at ^ BLOCK) < count ? in[at ^ BLOCK] : 0u;
#endif
        const unsigned mine = dot(tile[thread], far);
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
        const unsigned all = __reduce_add_sync(0xffffffffu, mine);
#else
        // Every thread has read its own slot; the slots now take what is summed.
        tile[thread] = mine;
        __syncthreads();
        unsigned all = 0u;
        for (unsigned lane = thread & ~31u; lane <= (thread | 31u); lane += 1u) {
            all += tile[lane];
        }
#endif
        const unsigned result = mix(mine) + all;
        if (at < count) {
            out[at] = result;
            sum += result;
        }
        // Nobody may write its slot while another one still reads it.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
        asm volatile("barrier.cluster.arrive;\n\tbarrier.cluster.wait;" ::: "memory");
#else
        __syncthreads();
#endif
    }
    atomicAdd(total, sum);
}
