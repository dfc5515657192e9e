// Affines as frames: the rotation matrix of the quaternion, the translation in another unit.
#import rigid
#storage x
#storage y
#storage trans
#storage dy
#storage dtrans
#storage dx
struct Params { rows: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    let f = Rigid(quat_to_rot(x_ld4(i * 2u)), p.scale * x_ld4(i * 2u + 1u).xyz);
    y_st4(i * 3u, pack12a(f));
    y_st4(i * 3u + 1u, pack12b(f));
    y_st4(i * 3u + 2u, pack12c(f));
    trans_st4(i, vec4<f32>(f.t, 0.0));
}

// dq from the quadratic form R(q), dt = scale * (dframe.t + dtrans)
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    let g = unpack12(dy_ld4(i * 3u), dy_ld4(i * 3u + 1u), dy_ld4(i * 3u + 2u));
    dx_st4(i * 2u, quat_to_rot_back(x_ld4(i * 2u), g.r));
    dx_st4(i * 2u + 1u, vec4<f32>(p.scale * (g.t + dtrans_ld4(i).xyz), 0.0));
}
