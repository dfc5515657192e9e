// error = -t log sigmoid(x) - (1 - t) log sigmoid(-x) = max(x, 0) - x t + log(1 + exp(-|x|)) for every element.
#import bits
#storage x
#storage labels
#storage error
#storage derror
#storage dx
struct Params { count: u32, groups: u32, width: u32 }
@group(0) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.count { return; }
    let x = x_ld4(i);
    let e = max(x, vec4<f32>(0.0)) - x * labels_ld4(i) + log(1.0 + exp(-abs(x)));
    error_st4(i, e * lanes(i % p.groups, p.width));
}

// dx = derror (sigmoid(x) - t)
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.count { return; }
    dx_st4(i, derror_ld4(i) * (1.0 / (1.0 + exp(-x_ld4(i))) - labels_ld4(i)) * lanes(i % p.groups, p.width));
}
