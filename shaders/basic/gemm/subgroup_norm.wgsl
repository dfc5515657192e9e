// C[b, m, n] = finish(sum_k A[b, m, k] B[b, k, n]) for CPUs, with rows of A by their layer norm.
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
#import gemm_subgroup
fn row_ld4(i: u32) -> vec4<f32> { return a_ld4(i); }
#import layer_norm_narrow

// Statistics (mean, 1 / std, 0, 0) of A's rows, 16 rows a subgroup; biased variance in two passes, added
// in the order of `basic/layer_norm/subgroup`, so that no bit depends on what is joined.
@compute @workgroup_size(8)
fn statistics(@builtin(workgroup_id) wg: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let at = grid(wg);
    for (var row = at.x * 16u; row < min(at.x * 16u + 16u, p.m); row++) {
        let s = stats_of(at.z * p.as0 + at.y * p.as1 + row * p.as2, lane);
        if lane == 0u { stats_st4(stats_place(at.zy, row), vec4<f32>(s, 0.0, 0.0)); }
    }
}
fn stats_of(base: u32, lane: u32) -> vec2<f32> {
    let groups = (p.k + 3u) / 4u;
    var sum = vec4<f32>(0.0);
    for (var q = lane; q < groups; q += 8u) { sum += a_ld4(base + q); }
    let mean = subgroupAdd((sum.x + sum.y) + (sum.z + sum.w)) / f32(p.k);
    var square = vec4<f32>(0.0);
    for (var q = lane; q < groups; q += 8u) {
        let d = (a_ld4(base + q) - mean) * lanes(q, p.k);
        square += d * d;
    }
    return vec2<f32>(mean, 1.0 / sqrt(subgroupAdd((square.x + square.y) + (square.z + square.w)) / f32(p.k) + p.eps));
}
// The same for rows of up to 128 channels.
@compute @workgroup_size(8)
fn statistics_narrow(@builtin(workgroup_id) wg: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let at = grid(wg);
    for (var row = at.x * 16u + lane; row < at.x * 16u + 16u; row += 8u) {
        let s = narrow_stats(at.z * p.as0 + at.y * p.as1 + min(row, p.m - 1u) * p.as2, p.k, p.eps);
        if row < p.m { stats_st4(stats_place(at.zy, row), vec4<f32>(s, 0.0, 0.0)); }
    }
}
