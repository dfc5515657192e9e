// Queries, keys and values of invariant point attention, head by head: scalars, then points in global coordinates as (x, y, z).
// A row of the projections is [queries' scalars | keys' and values' scalars | queries' points | keys' and values' points]; points come as
// all x, all y, all z, and of keys and values each head has the keys' part first.
#import rigid
#storage proj
#storage f
#storage q
#storage k
#storage v
#storage dq
#storage dk
#storage dv
#storage dproj
#storage df
struct Params {
    rows: u32, heads: u32, c: u32, cv: u32, pq: u32, pv: u32, s1: u32, s2: u32, s3: u32, groups: u32, gq: u32, gv: u32,
}
@group(0) @binding(0) var<uniform> p: Params;

// Where the x of a point lies in the row, and how far apart its coordinates are.
struct Point { at: u32, step: u32 }
fn q_point(head: u32, j: u32) -> Point { return Point(p.s2 + head * p.pq + j, p.heads * p.pq); }
fn kv_point(head: u32, j: u32) -> Point { return Point(p.s3 + head * (p.pq + p.pv) + j, p.heads * (p.pq + p.pv)); }
fn point_at(i: u32, at: Point) -> vec3<f32> {
    let x = i * p.groups * 4u + at.at;
    return vec3<f32>(proj_ld(x), proj_ld(x + at.step), proj_ld(x + 2u * at.step));
}
fn frame_at(i: u32) -> Rigid { return unpack12(f_ld4(i * 3u), f_ld4(i * 3u + 1u), f_ld4(i * 3u + 2u)); }

// Element e of one head: part 0 a query, 1 a key, 2 a value.
fn element(i: u32, part: u32, head: u32, e: u32, f: Rigid) -> f32 {
    let scalars = select(p.c, p.cv, part == 2u);
    let points = select(p.pq, p.pv, part == 2u);
    let row = i * p.groups * 4u;
    if e < scalars {
        if part == 0u { return proj_ld(row + head * p.c + e); }
        return proj_ld(row + p.s1 + head * (p.c + p.cv) + select(0u, p.c, part == 2u) + e);
    }
    let j = (e - scalars) / 3u;
    if j >= points { return 0.0; }
    var at = kv_point(head, j + select(0u, p.pq, part == 2u));
    if part == 0u { at = q_point(head, j); }
    return apply(f, point_at(i, at))[(e - scalars) % 3u];
}
fn group(i: u32, part: u32, head: u32, g: u32) -> vec4<f32> {
    let f = frame_at(i);
    let e = g * 4u;
    return vec4<f32>(
        element(i, part, head, e, f), element(i, part, head, e + 1u, f), element(i, part, head, e + 2u, f), element(i, part, head, e + 3u, f));
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let flat = at.x * 64u + lane;
    let all = 2u * p.gq + p.gv;
    let head = flat / all;
    let g = flat % all;
    if head >= p.heads { return; }
    let row = at.y * p.heads + head;
    if g < p.gq {
        q_st4(row * p.gq + g, group(at.y, 0u, head, g));
    } else if g < 2u * p.gq {
        k_st4(row * p.gq + g - p.gq, group(at.y, 1u, head, g - p.gq));
    } else {
        v_st4(row * p.gv + g - 2u * p.gq, group(at.y, 2u, head, g - 2u * p.gq));
    }
}

// The gradient of a query's, key's or value's point in global coordinates.
fn dq_point(row: u32, j: u32) -> vec3<f32> {
    let at = row * p.gq * 4u + p.c + 3u * j;
    return vec3<f32>(dq_ld(at), dq_ld(at + 1u), dq_ld(at + 2u));
}
fn dkv_point(row: u32, j: u32) -> vec3<f32> {
    if j < p.pq {
        let at = row * p.gq * 4u + p.c + 3u * j;
        return vec3<f32>(dk_ld(at), dk_ld(at + 1u), dk_ld(at + 2u));
    }
    let at = row * p.gv * 4u + p.cv + 3u * (j - p.pq);
    return vec3<f32>(dv_ld(at), dv_ld(at + 1u), dv_ld(at + 2u));
}
fn column(i: u32, e: u32, f: Rigid) -> f32 {
    if e < p.s1 {
        let head = e / p.c;
        return select(0.0, dq_ld((i * p.heads + min(head, p.heads - 1u)) * p.gq * 4u + e % p.c), head < p.heads);
    }
    if e < p.s2 {
        let head = (e - p.s1) / (p.c + p.cv);
        let x = (e - p.s1) % (p.c + p.cv);
        if head >= p.heads { return 0.0; }
        if x < p.c { return dk_ld((i * p.heads + head) * p.gq * 4u + x); }
        return dv_ld((i * p.heads + head) * p.gv * 4u + x - p.c);
    }
    // A local coordinate's gradient is the global gradient along that axis of the frame.
    let query = e < p.s3;
    let points = select(p.pq + p.pv, p.pq, query);
    let x = e - select(p.s3, p.s2, query);
    let axis = x / (p.heads * points);
    let row = i * p.heads + x % (p.heads * points) / points;
    if axis > 2u { return 0.0; }
    if query { return dot(dq_point(row, x % points), f.r[axis]); }
    return dot(dkv_point(row, x % points), f.r[axis]);
}

// Scalars go where they came from; points: dx = R^T dX.
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let g = at.x * 64u + lane;
    if g >= p.groups { return; }
    let f = frame_at(at.y);
    let e = g * 4u;
    let v = vec4<f32>(column(at.y, e, f), column(at.y, e + 1u, f), column(at.y, e + 2u, f), column(at.y, e + 3u, f));
    dproj_st4(at.y * p.groups + g, v);
}

// dR = sum dX x^T, dt = sum dX over all points of a residue
@compute @workgroup_size(64)
fn backward_frames(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    var sum = Rigid(mat3x3<f32>(), vec3<f32>());
    for (var head = 0u; head < p.heads; head++) {
        let row = i * p.heads + head;
        for (var j = 0u; j < p.pq; j++) { sum = plus(sum, apply_back(point_at(i, q_point(head, j)), dq_point(row, j))); }
        for (var j = 0u; j < p.pq + p.pv; j++) { sum = plus(sum, apply_back(point_at(i, kv_point(head, j)), dkv_point(row, j))); }
    }
    df_st4(i * 3u, pack12a(sum));
    df_st4(i * 3u + 1u, pack12b(sum));
    df_st4(i * 3u + 2u, pack12c(sum));
}
