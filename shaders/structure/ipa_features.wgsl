// What the heads of invariant point attention bring home: [scalars | x | y | z | norms of the points in local coordinates | pair averages],
// each part over all heads. local = R^T (X - t), norm = sqrt(1e-8 + |local|^2)
#import rigid
#import bits
#storage o
#storage pair
#storage f
#storage y
#storage dy
#storage d_o
#storage dpair
#storage df
struct Params { rows: u32, heads: u32, cv: u32, pv: u32, cz: u32, gv: u32, gz: u32, gy: u32 }
@group(0) @binding(0) var<uniform> p: Params;

fn frame_at(i: u32) -> Rigid { return unpack12(f_ld4(i * 3u), f_ld4(i * 3u + 1u), f_ld4(i * 3u + 2u)); }
fn point_at(i: u32, head: u32, j: u32) -> vec3<f32> {
    let at = (head * p.rows + i) * p.gv * 4u + p.cv + 3u * j;
    return vec3<f32>(o_ld(at), o_ld(at + 1u), o_ld(at + 2u));
}
fn norm(v: vec3<f32>) -> f32 { return sqrt(1e-8 + dot(v, v)); }

fn feature(i: u32, e: u32, f: Rigid) -> f32 {
    let scalars = p.heads * p.cv;
    if e < scalars { return o_ld((e / p.cv * p.rows + i) * p.gv * 4u + e % p.cv); }
    let points = p.heads * p.pv;
    if e < scalars + 4u * points {
        let x = (e - scalars) % points;
        let part = (e - scalars) / points;
        let local = apply_inverse(f, point_at(i, x / p.pv, x % p.pv));
        if part == 3u { return norm(local); }
        return local[part];
    }
    let x = e - scalars - 4u * points;
    if x / p.cz >= p.heads { return 0.0; }
    return pair_ld((i * p.heads + x / p.cz) * p.gz * 4u + x % p.cz);
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let g = at.x * 64u + lane;
    if g >= p.gy { return; }
    let f = frame_at(at.y);
    let e = g * 4u;
    let v = vec4<f32>(feature(at.y, e, f), feature(at.y, e + 1u, f), feature(at.y, e + 2u, f), feature(at.y, e + 3u, f));
    y_st4(at.y * p.gy + g, v);
}

// dlocal = (dx, dy, dz) + dnorm local / norm
fn dlocal(i: u32, head: u32, j: u32, local: vec3<f32>) -> vec3<f32> {
    let points = p.heads * p.pv;
    let at = i * p.gy * 4u + p.heads * p.cv + head * p.pv + j;
    return vec3<f32>(dy_ld(at), dy_ld(at + points), dy_ld(at + 2u * points)) + dy_ld(at + 3u * points) * local / norm(local);
}
fn element(i: u32, head: u32, e: u32, f: Rigid) -> f32 {
    if e < p.cv { return dy_ld(i * p.gy * 4u + head * p.cv + e); }
    let j = (e - p.cv) / 3u;
    if j >= p.pv { return 0.0; }
    return (f.r * dlocal(i, head, j, apply_inverse(f, point_at(i, head, j))))[(e - p.cv) % 3u];
}

// Scalars go where they came from; points: dX = R dlocal.
@compute @workgroup_size(64)
fn backward_heads(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let flat = at.x * 64u + lane;
    let head = flat / p.gv;
    let g = flat % p.gv;
    if head >= p.heads { return; }
    let f = frame_at(at.y);
    let e = g * 4u;
    let v = vec4<f32>(
        element(at.y, head, e, f), element(at.y, head, e + 1u, f), element(at.y, head, e + 2u, f), element(at.y, head, e + 3u, f));
    d_o_st4((head * p.rows + at.y) * p.gv + g, v);
}

@compute @workgroup_size(64)
fn backward_pair(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let flat = at.x * 64u + lane;
    let head = flat / p.gz;
    let g = flat % p.gz;
    if head >= p.heads { return; }
    let first = at.y * p.gy * 4u + p.heads * (p.cv + 4u * p.pv) + head * p.cz;
    let e = min(vec4<u32>(g * 4u, g * 4u + 1u, g * 4u + 2u, g * 4u + 3u), vec4<u32>(p.cz - 1u)) + first;
    let v = vec4<f32>(dy_ld(e.x), dy_ld(e.y), dy_ld(e.z), dy_ld(e.w));
    dpair_st4((at.y * p.heads + head) * p.gz + g, v * lanes(g, p.cz));
}

// dR = sum (X - t) dlocal^T, dt = -sum R dlocal
@compute @workgroup_size(64)
fn backward_frames(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    let f = frame_at(i);
    var sum = Rigid(mat3x3<f32>(), vec3<f32>());
    for (var head = 0u; head < p.heads; head++) {
        for (var j = 0u; j < p.pv; j++) {
            let x = point_at(i, head, j);
            sum = plus(sum, apply_inverse_back(f, x, dlocal(i, head, j, apply_inverse(f, x))));
        }
    }
    df_st4(i * 3u, pack12a(sum));
    df_st4(i * 3u + 1u, pack12b(sum));
    df_st4(i * 3u + 2u, pack12c(sum));
}
