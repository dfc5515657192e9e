// The algebra of frames and quaternions row by row, forward and backward, on the functions that the fused kernels use.
#import rigid
#storage a
#storage b
#storage c
#storage y
#storage dy
#storage da
#storage db
#storage dc
struct Params { rows: u32 }
@group(0) @binding(0) var<uniform> p: Params;

fn a_at(i: u32) -> Rigid { return unpack12(a_ld4(i * 3u), a_ld4(i * 3u + 1u), a_ld4(i * 3u + 2u)); }
fn b_at(i: u32) -> Rigid { return unpack12(b_ld4(i * 3u), b_ld4(i * 3u + 1u), b_ld4(i * 3u + 2u)); }
fn dy_at(i: u32) -> Rigid { return unpack12(dy_ld4(i * 3u), dy_ld4(i * 3u + 1u), dy_ld4(i * 3u + 2u)); }
fn put_y(i: u32, f: Rigid) {
    y_st4(i * 3u, pack12a(f));
    y_st4(i * 3u + 1u, pack12b(f));
    y_st4(i * 3u + 2u, pack12c(f));
}
fn put_da(i: u32, f: Rigid) {
    da_st4(i * 3u, pack12a(f));
    da_st4(i * 3u + 1u, pack12b(f));
    da_st4(i * 3u + 2u, pack12c(f));
}

// y = a b: R = Ra Rb, t = Ra tb + ta
@compute @workgroup_size(64)
fn product(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i < p.rows { put_y(i, compose(a_at(i), b_at(i))); }
}

// dRa = dR Rb^T + dt tb^T, dta = dt;  dRb = Ra^T dR, dtb = Ra^T dt
@compute @workgroup_size(64)
fn product_back(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    put_da(i, compose_back_left(b_at(i), dy_at(i)));
    let right = compose_back_right(a_at(i), dy_at(i));
    db_st4(i * 3u, pack12a(right));
    db_st4(i * 3u + 1u, pack12b(right));
    db_st4(i * 3u + 2u, pack12c(right));
}

// y = (R^T, -R^T t)
@compute @workgroup_size(64)
fn inverse(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    let f = a_at(i);
    put_y(i, Rigid(transpose(f.r), -(f.t * f.r)));
}

// dR = dY^T - t dt'^T,  dt = -R dt'
@compute @workgroup_size(64)
fn inverse_back(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    let f = a_at(i);
    let g = dy_at(i);
    put_da(i, Rigid(transpose(g.r) - outer(f.t, g.t), -(f.r * g.t)));
}

fn unit(v: vec3<f32>) -> vec3<f32> { return v / sqrt(dot(v, v) + 1e-8); }
// d of v / sqrt(v.v + eps) = (g - y <y, g>) / sqrt(v.v + eps)
fn unit_back(v: vec3<f32>, g: vec3<f32>) -> vec3<f32> {
    let n = sqrt(dot(v, v) + 1e-8);
    let y = v / n;
    return (g - y * dot(y, g)) / n;
}

// Algorithm 21: e0 = unit(b - a), e1 = unit(v - <v, e0> e0) with v = c - b, e2 = e0 x e1, at b
@compute @workgroup_size(64)
fn three_points(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    let origin = b_ld4(i).xyz;
    let e0 = unit(origin - a_ld4(i).xyz);
    let v = c_ld4(i).xyz - origin;
    let e1 = unit(v - dot(v, e0) * e0);
    put_y(i, Rigid(mat3x3<f32>(e0, e1, cross(e0, e1)), origin));
}

// de0 = dR0 + e1 x dR2,  de1 = dR1 + dR2 x e0;  u = v - <v, e0> e0:  dv = du - <e0, du> e0,  de0 -= <v, e0> du + <e0, du> v
@compute @workgroup_size(64)
fn three_points_back(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    let origin = b_ld4(i).xyz;
    let x = origin - a_ld4(i).xyz;
    let e0 = unit(x);
    let v = c_ld4(i).xyz - origin;
    let along = dot(v, e0);
    let u = v - along * e0;
    let e1 = unit(u);
    let g = dy_at(i);
    let du = unit_back(u, g.r[1] + cross(g.r[2], e0));
    let dv = du - dot(e0, du) * e0;
    let dx = unit_back(x, g.r[0] + cross(e1, g.r[2]) - along * du - dot(e0, du) * v);
    da_st4(i, vec4<f32>(-dx, 0.0));
    db_st4(i, vec4<f32>(dx - dv + g.t, 0.0));
    dc_st4(i, vec4<f32>(dv, 0.0));
}

// y = (aw bw - <av, bv>, aw bv + bw av + av x bv)
@compute @workgroup_size(64)
fn quaternions(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i < p.rows { y_st4(i, quat_multiply(a_ld4(i), b_ld4(i))); }
}

// da = dy b*, db = a* dy, where * is the conjugate
@compute @workgroup_size(64)
fn quaternions_back(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    let conjugate = vec4<f32>(1.0, -1.0, -1.0, -1.0);
    da_st4(i, quat_multiply(dy_ld4(i), b_ld4(i) * conjugate));
    db_st4(i, quat_multiply(a_ld4(i) * conjugate, dy_ld4(i)));
}
