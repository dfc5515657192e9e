// C[b, m, n] = finish(sum_k A[b, m, k] B[b, k, n]) for CPUs.
#import bits
#storage a
#storage b
#storage c
#storage bias
#storage extra
#import gemm
#import gemm_raw
#import gemm_finish
#import gemm_subgroup
