// C[b, m, n] = finish(sum_k A[b, m, k] B[b, k, n]) for CPUs, dropped out and added to a residual.
#import bits
#import philox
#storage a
#storage b
#storage c
#storage bias
#storage extra
#storage seed i32
#import gemm
#import dropout
#import gemm_raw
#import gemm_dropout
#import gemm_subgroup
