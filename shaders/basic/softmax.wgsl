// Softmax over the innermost axis, one invocation a row.
#import bits
#storage x
#storage y
#storage dy
#storage dx
struct Params { rows: u32, groups: u32, width: u32 }
@group(0) @binding(0) var<uniform> p: Params;

fn total(v: vec4<f32>) -> f32 { return (v.x + v.y) + (v.z + v.w); }

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = grid(wg).x * 64u + lane;
    if row >= p.rows { return; }
    let base = row * p.groups;
    var top = vec4<f32>(-3.4e38);
    for (var g = 0u; g < p.groups; g++) {
        top = max(top, select(vec4<f32>(-3.4e38), x_ld4(base + g), lanes(g, p.width) > vec4<f32>(0.0)));
    }
    let most = max(max(top.x, top.y), max(top.z, top.w));
    var sum = vec4<f32>(0.0);
    for (var g = 0u; g < p.groups; g++) { sum = sum + exp(min(x_ld4(base + g) - most, vec4<f32>(0.0))) * lanes(g, p.width); }
    let scale = 1.0 / total(sum);
    for (var g = 0u; g < p.groups; g++) {
        // Padding may lie above the row's largest value: min keeps its exponential finite before it is taken away.
        y_st4(base + g, exp(min(x_ld4(base + g) - most, vec4<f32>(0.0))) * lanes(g, p.width) * scale);
    }
}

// dx = y (dy - sum(y dy))
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = grid(wg).x * 64u + lane;
    if row >= p.rows { return; }
    let base = row * p.groups;
    var sum = vec4<f32>(0.0);
    for (var g = 0u; g < p.groups; g++) { sum = sum + y_ld4(base + g) * dy_ld4(base + g); }
    let mean = total(sum);
    for (var g = 0u; g < p.groups; g++) { dx_st4(base + g, y_ld4(base + g) * (dy_ld4(base + g) - mean)); }
}
