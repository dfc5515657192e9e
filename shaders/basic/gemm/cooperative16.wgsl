// C[b, m, n] = finish(sum_k A[b, m, k] B[b, k, n]) by cooperative matrices of 16 x 16.
#import bits
#storage a
#storage b
#storage c
#storage bias
#storage extra
#import gemm
#import gemm_finish
const T: u32 = 16u;
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sum = coop_mat16x16<f32, C>;
#import gemm_cooperative
