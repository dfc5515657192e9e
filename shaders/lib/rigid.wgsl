// Rigid transformations. A frame of twelve numbers is a rotation row by row, then a translation; an affine of seven is a quaternion
// (w, x, y, z) and a translation. A rotation is held as its columns: r[c][row].
struct Rigid { r: mat3x3<f32>, t: vec3<f32> }
fn unpack12(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>) -> Rigid {
    return Rigid(mat3x3<f32>(vec3<f32>(a.x, a.w, b.z), vec3<f32>(a.y, b.x, b.w), vec3<f32>(a.z, b.y, c.x)), c.yzw);
}
fn pack12a(f: Rigid) -> vec4<f32> { return vec4<f32>(f.r[0].x, f.r[1].x, f.r[2].x, f.r[0].y); }
fn pack12b(f: Rigid) -> vec4<f32> { return vec4<f32>(f.r[1].y, f.r[2].y, f.r[0].z, f.r[1].z); }
fn pack12c(f: Rigid) -> vec4<f32> { return vec4<f32>(f.r[2].z, f.t); }
fn apply(f: Rigid, p: vec3<f32>) -> vec3<f32> { return f.r * p + f.t; }
fn apply_inverse(f: Rigid, p: vec3<f32>) -> vec3<f32> { return (p - f.t) * f.r; }
fn compose(a: Rigid, b: Rigid) -> Rigid { return Rigid(a.r * b.r, a.r * b.t + a.t); }
fn plus(a: Rigid, b: Rigid) -> Rigid { return Rigid(a.r + b.r, a.t + b.t); }
// The matrix of the outer product u v^T.
fn outer(u: vec3<f32>, v: vec3<f32>) -> mat3x3<f32> { return mat3x3<f32>(u * v.x, u * v.y, u * v.z); }
// Gradients of a frame from g, that of what it made: of R p + t, of R^T (p - t), and of each side of a composition.
fn apply_back(p: vec3<f32>, g: vec3<f32>) -> Rigid { return Rigid(outer(g, p), g); }
fn apply_inverse_back(f: Rigid, p: vec3<f32>, g: vec3<f32>) -> Rigid { return Rigid(outer(p - f.t, g), -(f.r * g)); }
fn compose_back_left(b: Rigid, g: Rigid) -> Rigid { return Rigid(g.r * transpose(b.r) + outer(g.t, b.t), g.t); }
fn compose_back_right(a: Rigid, g: Rigid) -> Rigid { return Rigid(transpose(a.r) * g.r, g.t * a.r); }
// Quadratic in the quaternion: one that is not of unit length scales the matrix.
fn quat_to_rot(q: vec4<f32>) -> mat3x3<f32> {
    let s = q * q;
    return mat3x3<f32>(
        vec3<f32>(s.x + s.y - s.z - s.w, 2.0 * (q.y * q.z + q.x * q.w), 2.0 * (q.y * q.w - q.x * q.z)),
        vec3<f32>(2.0 * (q.y * q.z - q.x * q.w), s.x - s.y + s.z - s.w, 2.0 * (q.z * q.w + q.x * q.y)),
        vec3<f32>(2.0 * (q.y * q.w + q.x * q.z), 2.0 * (q.z * q.w - q.x * q.y), s.x - s.y - s.z + s.w));
}
// The gradient of the quaternion from that of its matrix.
fn quat_to_rot_back(q: vec4<f32>, g: mat3x3<f32>) -> vec4<f32> {
    let w = q.x; let x = q.y; let y = q.z; let z = q.w;
    let a = g[1].z - g[2].y;
    let b = g[2].x - g[0].z;
    let c = g[0].y - g[1].x;
    let xy = g[1].x + g[0].y;
    let xz = g[2].x + g[0].z;
    let yz = g[2].y + g[1].z;
    return 2.0 * vec4<f32>(
        w * (g[0].x + g[1].y + g[2].z) + x * a + y * b + z * c,
        x * (g[0].x - g[1].y - g[2].z) + y * xy + z * xz + w * a,
        y * (g[1].y - g[0].x - g[2].z) + x * xy + z * yz + w * b,
        z * (g[2].z - g[0].x - g[1].y) + x * xz + y * yz + w * c);
}
fn quat_multiply(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(a.x * b.x - dot(a.yzw, b.yzw), a.x * b.yzw + b.x * a.yzw + cross(a.yzw, b.yzw));
}
