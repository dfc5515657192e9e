// What the families of `basic/layer_norm` share: eight invocations own a row, and `sum8` adds what they hold.
struct Params { rows: u32, width: u32, groups: u32, eps: f32, block: u32 }
@group(0) @binding(0) var<uniform> p: Params;

// The gradient is added to what is there.
override ADD: bool = false;

fn total(v: vec4<f32>) -> f32 { return (v.x + v.y) + (v.z + v.w); }

// Mean and 1/std are kept for the backward pass as stats[row] = (mean, 1/std, 0, 0). Rows beyond the last repeat it and store nothing.
// The first 256 channels of a row stay in registers.
fn normalise(row: u32, first: u32, lane: u32) {
    let base = min(row, p.rows - 1u) * p.groups;
    let n = f32(p.width);
    var sum = vec4<f32>(0.0);
#repeat i 8
    var v$i = vec4<f32>(0.0);
    if $iu * 8u < p.groups {
        if first + $iu * 8u < p.groups { v$i = x_ld4(base + first + $iu * 8u); }
        sum += v$i;
    }
#end
    for (var g = first + 64u; g < p.groups; g += 8u) { sum += x_ld4(base + g); }
    let mean = sum8(lane, total(sum)) / n;
    var square = vec4<f32>(0.0);
#repeat i 8
    if $iu * 8u < p.groups {
        v$i = (v$i - mean) * lanes(first + $iu * 8u, p.width);
        square += v$i * v$i;
    }
#end
    for (var g = first + 64u; g < p.groups; g += 8u) {
        let d = (x_ld4(base + g) - mean) * lanes(g, p.width);
        square += d * d;
    }
    let rstd = 1.0 / sqrt(sum8(lane, total(square)) / n + p.eps);
    if row >= p.rows { return; }
    if first == 0u { stats_st4(row, vec4<f32>(mean, rstd, 0.0, 0.0)); }
#repeat i 8
    if first + $iu * 8u < p.groups { scaled(base, first + $iu * 8u, v$i * rstd); }
#end
    for (var g = first + 64u; g < p.groups; g += 8u) { scaled(base, g, (x_ld4(base + g) - mean) * rstd); }
}
fn scaled(base: u32, g: u32, xhat: vec4<f32>) {
    y_st4(base + g, (xhat * scale_ld4(g) + offset_ld4(g)) * lanes(g, p.width));
}

// Sums of dy * xhat and of dy over the rows that an invocation has seen, for its first 256 channels.
#repeat i 8
var<private> ds$i: vec4<f32>;
var<private> db$i: vec4<f32>;
#end
fn give(i: u32, v: vec4<f32>) {
    if ADD { dx_st4(i, dx_ld4(i) + v); } else { dx_st4(i, v); }
}
// dx (+)= rstd * (dy*scale - mean(dy*scale) - xhat * mean(dy*scale*xhat)),  xhat = (x - mean) * rstd
fn gradient(row: u32, first: u32, lane: u32) {
    let at = min(row, p.rows - 1u);
    let base = at * p.groups;
    let s = stats_ld4(at);
    let n = f32(p.width);
    var a = vec4<f32>(0.0);
    var b = vec4<f32>(0.0);
#repeat i 8
    var d$i = vec4<f32>(0.0);
    var h$i = vec4<f32>(0.0);
    if first + $iu * 8u < p.groups {
        let e = dy_ld4(base + first + $iu * 8u);
        d$i = e * scale_ld4(first + $iu * 8u);
        h$i = (x_ld4(base + first + $iu * 8u) - s.x) * s.y;
        a += d$i;
        b += d$i * h$i;
        if row < p.rows {
            ds$i += e * h$i;
            db$i += e;
        }
    }
#end
    for (var g = first + 64u; g < p.groups; g += 8u) {
        let d = dy_ld4(base + g) * scale_ld4(g);
        a += d;
        b += d * (x_ld4(base + g) - s.x) * s.y;
    }
    let mean_d = sum8(lane, total(a)) / n;
    let mean_dx = sum8(lane, total(b)) / n;
    if row >= p.rows { return; }
#repeat i 8
    if first + $iu * 8u < p.groups {
        give(base + first + $iu * 8u, s.y * (d$i - mean_d - h$i * mean_dx) * lanes(first + $iu * 8u, p.width));
    }
#end
    for (var g = first + 64u; g < p.groups; g += 8u) {
        let xhat = (x_ld4(base + g) - s.x) * s.y;
        give(base + g, s.y * (dy_ld4(base + g) * scale_ld4(g) - mean_d - xhat * mean_dx) * lanes(g, p.width));
    }
}
