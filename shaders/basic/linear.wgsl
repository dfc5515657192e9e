// The gradient of y = act(x w + b) through its activation; the products of matrices are `basic/gemm`'s.
#storage y
#storage dy
#storage da
// Rows are `row` groups long, and the activation holds from their group `tail` on.
struct Params { n: u32, act: u32, row: u32, tail: u32 }
@group(0) @binding(0) var<uniform> p: Params;

// da = dy act', from the output: ReLU passes where y > 0, sigmoid has y (1 - y). Padding stays zero because it is zero in dy.
@compute @workgroup_size(64)
fn through(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = grid(wg).x * 256u + lane;
    for (var i = first; i < min(first + 256u, p.n); i += 64u) {
        let v = y_ld4(i);
        let d = dy_ld4(i);
        if i % p.row < p.tail { da_st4(i, d); continue; }
        da_st4(i, select(d * v * (1.0 - v), select(vec4<f32>(0.0), d, v > vec4<f32>(0.0)), p.act == 1u));
    }
}
