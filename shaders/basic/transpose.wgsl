// y[b, j, i] = x[b, i, j]: an invocation owns four neighbours of y and gathers them from four rows of x.
#import bits
#storage x
#storage y
struct Params { batch: u32, rows: u32, columns: u32, x_pitch: u32, y_groups: u32 }
@group(0) @binding(0) var<uniform> p: Params;

// The gradient is the same with rows and columns exchanged.
@compute @workgroup_size(64)
fn transpose(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let flat = at.x * 64u + lane;
    let j = flat / p.y_groups;
    let g = flat % p.y_groups;
    if j >= p.columns { return; }
    let base = at.y * p.rows;
    let last = p.rows - 1u;
    let i = g * 4u;
    let v = vec4<f32>(
        x_ld((base + i) * p.x_pitch + j),
        x_ld((base + min(i + 1u, last)) * p.x_pitch + j),
        x_ld((base + min(i + 2u, last)) * p.x_pitch + j),
        x_ld((base + min(i + 3u, last)) * p.x_pitch + j),
    );
    y_st4((at.y * p.columns + j) * p.y_groups + g, v * lanes(g, p.rows));
}
