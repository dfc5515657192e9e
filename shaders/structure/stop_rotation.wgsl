// y = x, whose quaternion's gradient goes no further.
#storage x
#storage y
#storage dy
#storage dx
struct Params { rows: u32 }
@group(0) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    y_st4(i * 2u, x_ld4(i * 2u));
    y_st4(i * 2u + 1u, x_ld4(i * 2u + 1u));
}

// dq = 0, dt = dt'
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    dx_st4(i * 2u, vec4<f32>(0.0));
    dx_st4(i * 2u + 1u, dy_ld4(i * 2u + 1u));
}
