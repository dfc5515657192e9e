// Outer product mean, Algorithm 10: a gradient times the norm of each pair. The products of matrices are `basic/gemm`'s.
#storage norm
#storage dy
#storage ds
struct Params { n: u32, groups: u32 }
@group(0) @binding(0) var<uniform> p: Params;

// ds[i, j, f] = dy[i, j, f] norm[i, j] for rows of `groups` groups; ds has rows of zeros up to a multiple of four.
@compute @workgroup_size(64)
fn weigh(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let place = at.x * 64u + lane;
    let j = place / p.groups;
    let pitch = (p.n + 3u) & ~3u;
    if j >= pitch { return; }
    var v = vec4<f32>(0.0);
    if j < p.n { v = dy_ld4(at.y * p.n * p.groups + place) * norm_ld4(at.y * p.n + j).x; }
    ds_st4(at.y * pitch * p.groups + place, v);
}
