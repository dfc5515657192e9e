// y[o, j, k] = 1 where index[o, j] = k, else 0. There is no gradient.
#import bits
#storage index i32
#storage y
struct Params { columns: u32, pitch: u32, groups: u32, width: u32 }
@group(0) @binding(0) var<uniform> p: Params;

// A workgroup makes 16 columns of one outer row.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    for (var flat = lane; flat < 16u * p.groups; flat += 64u) {
        let j = at.x * 16u + flat / p.groups;
        let g = flat % p.groups;
        if j < p.columns {
            let first = i32(g * 4u);
            let hit = vec4<i32>(first, first + 1, first + 2, first + 3) == vec4<i32>(index_ld(at.y * p.pitch + j));
            y_st4((at.y * p.columns + j) * p.groups + g, select(vec4<f32>(0.0), vec4<f32>(1.0), hit) * lanes(g, p.width));
        }
    }
}
