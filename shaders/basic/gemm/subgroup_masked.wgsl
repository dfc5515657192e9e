// C[b, m, n] = finish(sum_k A[b, m, k] B[b, k, n]) for CPUs, masked by rows and added to a residual.
#import bits
#storage a
#storage b
#storage c
#storage bias
#storage extra
#storage mask
#import gemm
#import gemm_raw
#import gemm_masked
#import gemm_subgroup
