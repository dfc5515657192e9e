// One operand's place on the innermost axis of a concatenation: y[start + e] = x[e]. Strides count groups of four.
#storage x
#storage y
#storage dy
#storage dx
struct Params {
    n1: u32, n2: u32, n3: u32, groups: u32, first: u32, start: u32, width: u32,
    x0: u32, x1: u32, x2: u32, x3: u32, y0: u32, y1: u32, y2: u32, y3: u32,
}
@group(0) @binding(0) var<uniform> p: Params;

struct Place { x: u32, y: u32, g: u32, inside: bool }
fn place(wg: vec3<u32>, lane: u32) -> Place {
    let at = grid(wg);
    let flat = at.x * 64u + lane;
    let g = flat % p.groups;
    var rest = flat / p.groups;
    let i3 = rest % p.n3;
    rest = rest / p.n3;
    let i2 = rest % p.n2;
    let i1 = rest / p.n2;
    let x = at.y * p.x0 + i1 * p.x1 + i2 * p.x2 + i3 * p.x3;
    let y = at.y * p.y0 + i1 * p.y1 + i2 * p.y2 + i3 * p.y3;
    return Place(x, y, g, i1 < p.n1);
}

// Operands follow one another in launches of their own: a group that this operand shares with the one before keeps that one's lanes, and
// those after this operand are zero until the next one fills them.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = place(wg, lane);
    if !at.inside { return; }
    let g = p.first + at.g;
    var v = vec4<f32>(0.0);
    if g * 4u < p.start { v = y_ld4(at.y + g); }
    for (var l = 0u; l < 4u; l++) {
        let i = g * 4u + l;
        if i >= p.start { v[l] = 0.0; }
        if i >= p.start && i < p.start + p.width { v[l] = x_ld(at.x * 4u + i - p.start); }
    }
    y_st4(at.y + g, v);
}

// dx[e] = dy[start + e]
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = place(wg, lane);
    if !at.inside { return; }
    var v = vec4<f32>(0.0);
    for (var l = 0u; l < min(4u, p.width - at.g * 4u); l++) { v[l] = dy_ld(at.y * 4u + p.start + at.g * 4u + l); }
    dx_st4(at.x + at.g, v);
}
