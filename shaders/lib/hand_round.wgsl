// Eight lanes of a subgroup load four rows of up to eight channel groups together and hand them round. Each lane holds four places of the other
// side, one in each component of its registers: element `c` of a register array is channel `c` of all four.
// How many loads four rows of `n` groups take, and the row and group of a lane in load `r`.
enable subgroups;
fn loads(n: u32) -> u32 { return select(select(4u, 2u, n <= 4u), 1u, n <= 2u); }
fn share(n: u32, r: u32, lane: u32) -> vec2<u32> {
    if n <= 2u { return vec2<u32>(lane >> 1u, min(lane & 1u, n - 1u)); }
    if n <= 4u { return vec2<u32>(r * 2u + (lane >> 2u), min(lane & 3u, n - 1u)); }
    return vec2<u32>(r, min(lane, n - 1u));
}
// Row e, group g of what was loaded that way.
#repeat e 4
#repeat g 8
fn hand_$e_$g(n: u32, r: array<vec4<f32>, 4>) -> vec4<f32> {
    var v: vec4<f32>;
    if n <= 2u { v = subgroupBroadcast(r[0], ($eu * 2u + $gu) & 7u); }
    else if n <= 4u { v = subgroupBroadcast(r[$eu / 2u], ($eu * 4u + $gu) & 7u); }
    else { v = subgroupBroadcast(r[$e], $gu); }
    return v;
}
#end
#end
// Products of the lane's four places x with the four rows: column e is row e.
fn products(n: u32, x: ptr<function, array<vec4<f32>, 32>>, r: array<vec4<f32>, 4>) -> mat4x4<f32> {
#repeat e 4
    var s$e = vec4<f32>(0.0);
#end
#repeat g 8
    if n > $gu {
#repeat e 4
        let w$e = hand_$e_$g(n, r);
#end
#repeat c 4
        let x$c = (*x)[$gu * 4u + $cu];
#repeat e 4
        s$e += x$c * w$e[$c];
#end
#end
    }
#end
    return mat4x4<f32>(s0, s1, s2, s3);
}
// sum = sum * shrink + the four rows, each weighted by its column of u.
fn add_rows(n: u32, sum: ptr<function, array<vec4<f32>, 32>>, shrink: vec4<f32>, u: mat4x4<f32>, r: array<vec4<f32>, 4>) {
#repeat g 8
    if n > $gu {
#repeat e 4
        let w$e = hand_$e_$g(n, r);
#end
#repeat c 4
        (*sum)[$gu * 4u + $cu] = (*sum)[$gu * 4u + $cu] * shrink + u[0] * w0[$c] + u[1] * w1[$c] + u[2] * w2[$c] + u[3] * w3[$c];
#end
    }
#end
}
