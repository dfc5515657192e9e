// The eight frames of a residue: F_k = F_parent D_k Rx(angle_k), where D_k is the literature frame of the residue's type, Rx turns about
// x, and the parent is the backbone, or for chi2 to chi4 the chi before.
#import rigid
#storage f
#storage angles
#storage types i32
#storage table
#storage y
#storage dy
#storage df
#storage dangles
struct Params { rows: u32, residues: u32 }
@group(0) @binding(0) var<uniform> p: Params;

fn literature(i: u32, k: u32) -> Rigid {
    let at = u32(types_ld(i % p.residues)) * 24u + k * 3u;
    return unpack12(table_ld4(at), table_ld4(at + 1u), table_ld4(at + 2u));
}
// (sin, cos); the backbone's own group does not turn.
fn angle(i: u32, k: u32) -> vec2<f32> {
    if k == 0u { return vec2<f32>(0.0, 1.0); }
    return angles_ld4(i * 7u + k - 1u).xy;
}
fn local(i: u32, k: u32) -> Rigid {
    let d = literature(i, k);
    let a = angle(i, k);
    return Rigid(mat3x3<f32>(d.r[0], a.y * d.r[1] + a.x * d.r[2], a.y * d.r[2] - a.x * d.r[1]), d.t);
}
// The gradient of (sin, cos) from that of the local frame.
fn local_back(i: u32, k: u32, g: Rigid) -> vec2<f32> {
    let d = literature(i, k);
    return vec2<f32>(dot(g.r[1], d.r[2]) - dot(g.r[2], d.r[1]), dot(g.r[1], d.r[1]) + dot(g.r[2], d.r[2]));
}
fn put(i: u32, k: u32, f: Rigid) {
    let at = (i * 8u + k) * 3u;
    y_st4(at, pack12a(f));
    y_st4(at + 1u, pack12b(f));
    y_st4(at + 2u, pack12c(f));
}
fn dy_at(i: u32, k: u32) -> Rigid {
    let at = (i * 8u + k) * 3u;
    return unpack12(dy_ld4(at), dy_ld4(at + 1u), dy_ld4(at + 2u));
}
fn put_angle(i: u32, k: u32, v: vec2<f32>) { dangles_st4(i * 7u + k - 1u, vec4<f32>(v, 0.0, 0.0)); }

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    let base = unpack12(f_ld4(i * 3u), f_ld4(i * 3u + 1u), f_ld4(i * 3u + 2u));
    for (var k = 0u; k < 4u; k++) { put(i, k, compose(base, local(i, k))); }
    var last = base;
    for (var k = 4u; k < 8u; k++) {
        last = compose(last, local(i, k));
        put(i, k, last);
    }
}

// From the last chi back to the backbone: g_k = dy_k + (the part of F_k in g_(k+1)); d angle_k from the part of D_k Rx in g_k.
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    let base = unpack12(f_ld4(i * 3u), f_ld4(i * 3u + 1u), f_ld4(i * 3u + 2u));
    let f4 = compose(base, local(i, 4u));
    let f5 = compose(f4, local(i, 5u));
    let f6 = compose(f5, local(i, 6u));
    let g7 = dy_at(i, 7u);
    let g6 = plus(dy_at(i, 6u), compose_back_left(local(i, 7u), g7));
    let g5 = plus(dy_at(i, 5u), compose_back_left(local(i, 6u), g6));
    let g4 = plus(dy_at(i, 4u), compose_back_left(local(i, 5u), g5));
    var dbase = compose_back_left(local(i, 4u), g4);
    for (var k = 0u; k < 4u; k++) { dbase = plus(dbase, compose_back_left(local(i, k), dy_at(i, k))); }
    df_st4(i * 3u, pack12a(dbase));
    df_st4(i * 3u + 1u, pack12b(dbase));
    df_st4(i * 3u + 2u, pack12c(dbase));
    for (var k = 1u; k < 4u; k++) { put_angle(i, k, local_back(i, k, compose_back_right(base, dy_at(i, k)))); }
    put_angle(i, 4u, local_back(i, 4u, compose_back_right(base, g4)));
    put_angle(i, 5u, local_back(i, 5u, compose_back_right(f4, g5)));
    put_angle(i, 6u, local_back(i, 6u, compose_back_right(f5, g6)));
    put_angle(i, 7u, local_back(i, 7u, compose_back_right(f6, g7)));
}
