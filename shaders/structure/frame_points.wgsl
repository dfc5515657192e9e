// Points of each frame between local and global coordinates: y = R x + t, or R^T (x - t).
#import rigid
#storage f
#storage x
#storage y
#storage dy
#storage df
#storage dx
struct Params { rows: u32, points: u32, inverse: u32 }
@group(0) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    let a = unpack12(f_ld4(i * 3u), f_ld4(i * 3u + 1u), f_ld4(i * 3u + 2u));
    for (var k = i * p.points; k < (i + 1u) * p.points; k++) {
        let v = x_ld4(k).xyz;
        y_st4(k, vec4<f32>(select(apply(a, v), apply_inverse(a, v), p.inverse == 1u), 0.0));
    }
}

// y = R x + t: dx = R^T dy, dR = sum dy x^T, dt = sum dy.  y = R^T (x - t): dx = R dy, dR = sum (x - t) dy^T, dt = -sum R dy
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = grid(wg).x * 64u + lane;
    if i >= p.rows { return; }
    let a = unpack12(f_ld4(i * 3u), f_ld4(i * 3u + 1u), f_ld4(i * 3u + 2u));
    var sum = Rigid(mat3x3<f32>(), vec3<f32>());
    for (var k = i * p.points; k < (i + 1u) * p.points; k++) {
        let v = x_ld4(k).xyz;
        let g = dy_ld4(k).xyz;
        if p.inverse == 1u {
            sum = plus(sum, apply_inverse_back(a, v, g));
            dx_st4(k, vec4<f32>(a.r * g, 0.0));
        } else {
            sum = plus(sum, apply_back(v, g));
            dx_st4(k, vec4<f32>(g * a.r, 0.0));
        }
    }
    df_st4(i * 3u, pack12a(sum));
    df_st4(i * 3u + 1u, pack12b(sum));
    df_st4(i * 3u + 2u, pack12c(sum));
}
