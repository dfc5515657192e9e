// A pair bias and its gradient between [i, j, heads] and tiles [heads, ceil(i / 32), j, 32] that a subgroup reads in one piece.
#storage pair
#storage tiles
struct Params { n_i: u32, n_j: u32, heads: u32, pi: u32, pj: u32, th: u32, tt: u32 }
@group(0) @binding(0) var<uniform> p: Params;

// A workgroup is one tile of i by eight j for four heads; an invocation four i at one j.
struct Place { i: u32, j: u32, h: u32, tile: u32 }
fn place(wg: vec3<u32>, lane: u32) -> Place {
    let at = grid(wg);
    let j = at.x * 8u + (lane >> 3u);
    return Place(at.y * 32u + (lane & 7u) * 4u, j, at.z * 4u, at.y * p.tt + j * 8u + (lane & 7u));
}

@compute @workgroup_size(64)
fn tiles_in(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = place(wg, lane);
    if at.j >= p.n_j { return; }
    let start = min(vec4<u32>(at.i, at.i + 1u, at.i + 2u, at.i + 3u), vec4<u32>(p.n_i - 1u)) * p.pi + at.j * p.pj + (at.h >> 2u);
    let m = transpose(mat4x4<f32>(pair_ld4(start.x), pair_ld4(start.y), pair_ld4(start.z), pair_ld4(start.w)));
#repeat e 4
    if at.h + $eu < p.heads { tiles_st4((at.h + $eu) * p.th + at.tile, m[$e]); }
#end
}

@compute @workgroup_size(64)
fn tiles_out(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = place(wg, lane);
    if at.j >= p.n_j { return; }
    var m: mat4x4<f32>;
#repeat e 4
    if at.h + $eu < p.heads { m[$e] = tiles_ld4((at.h + $eu) * p.th + at.tile); }
#end
    // Heads that are not there stay zero, as padding is.
    m = transpose(m);
#repeat e 4
    if at.i + $eu < p.n_i { pair_st4((at.i + $eu) * p.pi + at.j * p.pj + (at.h >> 2u), m[$e]); }
#end
}
