// C[b, m, n] = finish(sum_k A[b, m, k] B[b, k, n]) for GPUs, masked by rows and added to a residual.
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
fn tile_stats(batch: vec2<u32>, i: u32, lane: u32, first: bool) -> vec2<f32> { return vec2<f32>(0.0, 1.0); }
#import gemm_tiled
