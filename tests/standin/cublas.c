/*
 * A stand-in for libcublas.so.12, for tests on machines without a GPU: it multiplies matrices in the memory of the stand-in
 * driver, which is the host's. STANDIN_FAIL gives any of its calls a code, or a crash or a hang (inject.h); with
 * STANDIN_WRONG=product one number is wrong.
 */
#include "inject.h"

#define API __attribute__((visibility("default")))

static int handle;

API int cublasGetProperty(int which, int *value) { static const int version[] = {12, 9, 1}; *value = version[which]; return 0; }
API size_t cublasGetCudartVersion(void) { return 12090; }
API const char *cublasGetStatusName(int status) { return status == 1 ? "CUBLAS_STATUS_NOT_INITIALIZED" : "CUBLAS_STATUS_OTHER"; }
API int cublasCreate_v2(void **made) { GIVE("cublasCreate"); *made = &handle; return 0; }
API int cublasDestroy_v2(void *given) { return given == &handle ? 0 : 1; }
API int cublasSgemm_v2(void *given, int ta, int tb, int m, int n, int k, const float *alpha, const float *a, int lda, const float *b, int ldb, const float *beta, float *c, int ldc) {
    GIVE("cublasSgemm");
    if (given != &handle || ta || tb) return 7;
    for (int row = 0; row < m; row++)
        for (int column = 0; column < n; column++) {
            float sum = 0;
            for (int inner = 0; inner < k; inner++) sum += a[inner * lda + row] * b[column * ldb + inner];
            /* What is there is not read where it does not count: it may be no number. */
            c[column * ldc + row] = *alpha * sum + (*beta != 0 ? *beta * c[column * ldc + row] : 0);
        }
    const char *wrong = getenv("STANDIN_WRONG");
    if (wrong && !strcmp(wrong, "product")) c[3] += 1;
    return 0;
}
