// C[b, m, n] = finish(sum_k A[b, m, k] B[b, k, n]) for GPUs, with rows of A by their layer norm.
#import bits
#storage a
#storage b
#storage c
#storage bias
#storage extra
#storage stats
#storage scale
#storage offset
#import gemm
#import gemm_norm
#import gemm_finish
#import gemm_tile_stats
#import gemm_tiled

// Statistics alone, 64 rows a workgroup, as a tile would make them.
@compute @workgroup_size(256)
fn statistics(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let batch = vec2<u32>(at.z, at.y);
    let i = at.x * 64u + (lane >> 2u);
    let s = own_stats(batch, i, lane);
    if (lane & 3u) == 0u && i < p.m { stats_st4(stats_place(batch, i), vec4<f32>(s, 0.0, 0.0)); }
}
