// q' = v / |v| with v = q + q (0, b, c, d);  t' = t + R(q) u
#import rigid
#storage x
#storage u
#storage y
#storage dy
#storage dx
#storage du
struct Params { rows: u32 }
@group(0) @binding(0) var<uniform> p: Params;

fn moved(q: vec4<f32>, s: vec3<f32>) -> vec4<f32> {
    return q + quat_multiply(q, vec4<f32>(0.0, s));
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    let q = x_ld4(i * 2u);
    let a = u_ld4(i * 2u);
    let shift = vec3<f32>(a.w, u_ld4(i * 2u + 1u).xy);
    let v = moved(q, a.xyz);
    y_st4(i * 2u, v / sqrt(dot(v, v)));
    y_st4(i * 2u + 1u, vec4<f32>(x_ld4(i * 2u + 1u).xyz + quat_to_rot(q) * shift, 0.0));
}

// dv = (dq' - q' <q', dq'>) / |v|,  v = (w - <qv, s>, qv + w s + qv x s);  du = R^T dt',  dR = dt' u^T,  dt = dt'
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    let q = x_ld4(i * 2u);
    let a = u_ld4(i * 2u);
    let s = a.xyz;
    let shift = vec3<f32>(a.w, u_ld4(i * 2u + 1u).xy);
    let v = moved(q, s);
    let norm = sqrt(dot(v, v));
    let unit = v / norm;
    let d = dy_ld4(i * 2u);
    let dv = (d - unit * dot(unit, d)) / norm;
    let dt = dy_ld4(i * 2u + 1u).xyz;
    var dq = vec4<f32>(dv.x + dot(dv.yzw, s), dv.yzw - dv.x * s + cross(s, dv.yzw));
    dq = dq + quat_to_rot_back(q, outer(dt, shift));
    dx_st4(i * 2u, dq);
    dx_st4(i * 2u + 1u, vec4<f32>(dt, 0.0));
    let ds = q.x * dv.yzw - dv.x * q.yzw + cross(dv.yzw, q.yzw);
    let dshift = dt * quat_to_rot(q);
    du_st4(i * 2u, vec4<f32>(ds, dshift.x));
    du_st4(i * 2u + 1u, vec4<f32>(dshift.yz, 0.0, 0.0));
}
