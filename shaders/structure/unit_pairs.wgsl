// Pairs of neighbours brought to unit length: y = x / sqrt(max(x0^2 + x1^2, eps)).
#storage x
#storage y
#storage dy
#storage dx
struct Params { count: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let g = grid(wg).x * 64u + lane;
    if g >= p.count { return; }
    let v = x_ld4(g);
    let s = v * v;
    let norm = sqrt(max(vec2<f32>(s.x + s.y, s.z + s.w), vec2<f32>(p.eps)));
    y_st4(g, v / norm.xxyy);
}

// dx = (dy - y <y, dy>) / |x|, and dy / sqrt(eps) where eps is larger
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let g = grid(wg).x * 64u + lane;
    if g >= p.count { return; }
    let v = x_ld4(g);
    let d = dy_ld4(g);
    let s = v * v;
    let square = vec2<f32>(s.x + s.y, s.z + s.w);
    let norm = sqrt(max(square, vec2<f32>(p.eps)));
    let y = v / norm.xxyy;
    let t = y * d;
    let radial = select(vec2<f32>(0.0), vec2<f32>(t.x + t.y, t.z + t.w), square > vec2<f32>(p.eps));
    dx_st4(g, (d - y * radial.xxyy) / norm.xxyy);
}
