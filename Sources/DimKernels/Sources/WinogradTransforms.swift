// Written by tools/build/winograd_transforms.py; change that, not this.
//
// F(m, r) of Winograd and Cook-Toom: one tile of m x m outputs of an r x r kernel by n x n multiplications, n = m + r - 1.

import DimKernelTypes

/// The transforms of F(m x m, r x r), nil where there are none.
package func winogradKernels(m: Int, r: Int) -> WinogradKernels? {
    switch (m, r) {
    case (2, 2):
        WinogradKernels(
            m: 2, r: 2, input: winogradInput2x2, output: winogradOutput2x2, weights: winogradWeights2x2,
            outputGradient: winogradOutputGradient2x2, weightGradient: winogradWeightGradient2x2)
    case (4, 2):
        WinogradKernels(
            m: 4, r: 2, input: winogradInput4x2, output: winogradOutput4x2, weights: winogradWeights4x2,
            outputGradient: winogradOutputGradient4x2, weightGradient: winogradWeightGradient4x2)
    case (3, 4):
        WinogradKernels(
            m: 3, r: 4, input: winogradInput3x4, output: winogradOutput3x4, weights: winogradWeights3x4,
            outputGradient: winogradOutputGradient3x4, weightGradient: winogradWeightGradient3x4)
    case (4, 4):
        WinogradKernels(
            m: 4, r: 4, input: winogradInput4x4, output: winogradOutput4x4, weights: winogradWeights4x4,
            outputGradient: winogradOutputGradient4x4, weightGradient: winogradWeightGradient4x4)
    case (5, 4):
        WinogradKernels(
            m: 5, r: 4, input: winogradInput5x4, output: winogradOutput5x4, weights: winogradWeights5x4,
            outputGradient: winogradOutputGradient5x4, weightGradient: winogradWeightGradient5x4)
    case (4, 3):
        WinogradKernels(
            m: 4, r: 3, input: winogradInput4x3, output: winogradOutput4x3, weights: winogradWeights4x3,
            outputGradient: winogradOutputGradient4x3, weightGradient: winogradWeightGradient4x3)
    case (6, 3):
        WinogradKernels(
            m: 6, r: 3, input: winogradInput6x3, output: winogradOutput6x3, weights: winogradWeights6x3,
            outputGradient: winogradOutputGradient6x3, weightGradient: winogradWeightGradient6x3)
    default: nil
    }
}

// MARK: F(2 x 2, 2 x 2), points 0, 1, infinity

private func winogradInput2x2(_ w: WinogradWindows) {
    transformWindows(w, window: 3, points: 3, step: 2, transform: multiplyBT2x2)
}

private func winogradOutputGradient2x2(_ w: WinogradWindows) {
    transformWindows(w, window: 2, points: 3, step: 2, transform: multiplyA2x2)
}

private func winogradOutput2x2(_ w: WinogradOutput) {
    transformOutput(w, points: 3, m: 2, transform: multiplyAT2x2)
}

private func winogradWeights2x2(_ w: WinogradWeights) {
    transformWeights(w, points: 3, r: 2, transform: multiplyG2x2)
}

private func winogradWeightGradient2x2(_ w: WinogradWeightGradient) {
    transformWeightGradient(w, points: 3, r: 2, transform: multiplyGT2x2)
}

@_transparent
func multiplyBT2x2(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    var y0 = x1
    y0 -= x0
    store(y0, target + 0 &* targetStride)
    let y1 = x1
    store(y1, target + 1 &* targetStride)
    var y2 = x2
    y2 -= x1
    store(y2, target + 2 &* targetStride)
}

@_transparent
func multiplyAT2x2(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    var y0 = x0
    y0 += x1
    store(y0, target + 0 &* targetStride)
    var y1 = x1
    y1 += x2
    store(y1, target + 1 &* targetStride)
}

@_transparent
func multiplyG2x2(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let y0 = fraction(-1, 1) * x0
    store(y0, target + 0 &* targetStride)
    var y1 = x0
    y1 += x1
    store(y1, target + 1 &* targetStride)
    let y2 = x1
    store(y2, target + 2 &* targetStride)
}

@_transparent
func multiplyA2x2(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let y0 = x0
    store(y0, target + 0 &* targetStride)
    var y1 = x0
    y1 += x1
    store(y1, target + 1 &* targetStride)
    let y2 = x1
    store(y2, target + 2 &* targetStride)
}

@_transparent
func multiplyGT2x2(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    var y0 = x1
    y0 -= x0
    store(y0, target + 0 &* targetStride)
    var y1 = x1
    y1 += x2
    store(y1, target + 1 &* targetStride)
}

// MARK: F(4 x 4, 2 x 2), points 0, 1, -1/2, -2, infinity

private func winogradInput4x2(_ w: WinogradWindows) {
    transformWindows(w, window: 5, points: 5, step: 4, transform: multiplyBT4x2)
}

private func winogradOutputGradient4x2(_ w: WinogradWindows) {
    transformWindows(w, window: 4, points: 5, step: 4, transform: multiplyA4x2)
}

private func winogradOutput4x2(_ w: WinogradOutput) {
    transformOutput(w, points: 5, m: 4, transform: multiplyAT4x2)
}

private func winogradWeights4x2(_ w: WinogradWeights) {
    transformWeights(w, points: 5, r: 2, transform: multiplyG4x2)
}

private func winogradWeightGradient4x2(_ w: WinogradWeightGradient) {
    transformWeightGradient(w, points: 5, r: 2, transform: multiplyGT4x2)
}

@_transparent
func multiplyBT4x2(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let x4 = load(source + 4 &* stride)
    var y0 = x3
    y0 -= x0
    y0 = multiplyAdd(fraction(-3, 2), x1, y0)
    y0 = multiplyAdd(fraction(3, 2), x2, y0)
    store(y0, target + 0 &* targetStride)
    var y1 = fraction(1, 4) * x1
    y1 = multiplyAdd(fraction(5, 8), x2, y1)
    y1 = multiplyAdd(fraction(1, 4), x3, y1)
    store(y1, target + 1 &* targetStride)
    var y2 = fraction(-1, 1) * x1
    y2 = multiplyAdd(fraction(1, 2), x2, y2)
    y2 = multiplyAdd(fraction(1, 2), x3, y2)
    store(y2, target + 2 &* targetStride)
    var y3 = fraction(-1, 4) * x1
    y3 = multiplyAdd(fraction(-1, 4), x2, y3)
    y3 = multiplyAdd(fraction(1, 2), x3, y3)
    store(y3, target + 3 &* targetStride)
    var y4 = x4
    y4 -= x1
    y4 = multiplyAdd(fraction(-3, 2), x2, y4)
    y4 = multiplyAdd(fraction(3, 2), x3, y4)
    store(y4, target + 4 &* targetStride)
}

@_transparent
func multiplyAT4x2(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let x4 = load(source + 4 &* stride)
    var y0 = x0
    y0 += x1
    y0 += x2
    y0 += x3
    store(y0, target + 0 &* targetStride)
    var y1 = x1
    y1 = multiplyAdd(fraction(-1, 2), x2, y1)
    y1 = multiplyAdd(fraction(-2, 1), x3, y1)
    store(y1, target + 1 &* targetStride)
    var y2 = x1
    y2 = multiplyAdd(fraction(1, 4), x2, y2)
    y2 = multiplyAdd(fraction(4, 1), x3, y2)
    store(y2, target + 2 &* targetStride)
    var y3 = x1
    y3 += x4
    y3 = multiplyAdd(fraction(-1, 8), x2, y3)
    y3 = multiplyAdd(fraction(-8, 1), x3, y3)
    store(y3, target + 3 &* targetStride)
}

@_transparent
func multiplyG4x2(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let y0 = fraction(-1, 1) * x0
    store(y0, target + 0 &* targetStride)
    var y1 = fraction(8, 9) * x0
    y1 = multiplyAdd(fraction(8, 9), x1, y1)
    store(y1, target + 1 &* targetStride)
    var y2 = fraction(16, 9) * x0
    y2 = multiplyAdd(fraction(-8, 9), x1, y2)
    store(y2, target + 2 &* targetStride)
    var y3 = fraction(-2, 9) * x0
    y3 = multiplyAdd(fraction(4, 9), x1, y3)
    store(y3, target + 3 &* targetStride)
    let y4 = x1
    store(y4, target + 4 &* targetStride)
}

@_transparent
func multiplyA4x2(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let y0 = x0
    store(y0, target + 0 &* targetStride)
    var y1 = x0
    y1 += x1
    y1 += x2
    y1 += x3
    store(y1, target + 1 &* targetStride)
    var y2 = x0
    y2 = multiplyAdd(fraction(-1, 2), x1, y2)
    y2 = multiplyAdd(fraction(1, 4), x2, y2)
    y2 = multiplyAdd(fraction(-1, 8), x3, y2)
    store(y2, target + 2 &* targetStride)
    var y3 = x0
    y3 = multiplyAdd(fraction(-2, 1), x1, y3)
    y3 = multiplyAdd(fraction(4, 1), x2, y3)
    y3 = multiplyAdd(fraction(-8, 1), x3, y3)
    store(y3, target + 3 &* targetStride)
    let y4 = x3
    store(y4, target + 4 &* targetStride)
}

@_transparent
func multiplyGT4x2(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let x4 = load(source + 4 &* stride)
    var y0 = fraction(-1, 1) * x0
    y0 = multiplyAdd(fraction(8, 9), x1, y0)
    y0 = multiplyAdd(fraction(16, 9), x2, y0)
    y0 = multiplyAdd(fraction(-2, 9), x3, y0)
    store(y0, target + 0 &* targetStride)
    var y1 = x4
    y1 = multiplyAdd(fraction(8, 9), x1, y1)
    y1 = multiplyAdd(fraction(-8, 9), x2, y1)
    y1 = multiplyAdd(fraction(4, 9), x3, y1)
    store(y1, target + 1 &* targetStride)
}

// MARK: F(3 x 3, 4 x 4), points 0, 1, -1, 1/2, -2, infinity

private func winogradInput3x4(_ w: WinogradWindows) {
    transformWindows(w, window: 6, points: 6, step: 3, transform: multiplyBT3x4)
}

private func winogradOutputGradient3x4(_ w: WinogradWindows) {
    transformWindows(w, window: 3, points: 6, step: 3, transform: multiplyA3x4)
}

private func winogradOutput3x4(_ w: WinogradOutput) {
    transformOutput(w, points: 6, m: 3, transform: multiplyAT3x4)
}

private func winogradWeights3x4(_ w: WinogradWeights) {
    transformWeights(w, points: 6, r: 4, transform: multiplyG3x4)
}

private func winogradWeightGradient3x4(_ w: WinogradWeightGradient) {
    transformWeightGradient(w, points: 6, r: 4, transform: multiplyGT3x4)
}

@_transparent
func multiplyBT3x4(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let x4 = load(source + 4 &* stride)
    let x5 = load(source + 5 &* stride)
    var y0 = fraction(1, 2) * x0
    y0 = multiplyAdd(fraction(-3, 4), x1, y0)
    y0 -= x2
    y0 = multiplyAdd(fraction(3, 4), x3, y0)
    y0 = multiplyAdd(fraction(1, 2), x4, y0)
    store(y0, target + 0 &* targetStride)
    var y1 = fraction(-1, 2) * x1
    y1 = multiplyAdd(fraction(1, 4), x2, y1)
    y1 = multiplyAdd(fraction(5, 4), x3, y1)
    y1 = multiplyAdd(fraction(1, 2), x4, y1)
    store(y1, target + 1 &* targetStride)
    var y2 = fraction(1, 2) * x1
    y2 = multiplyAdd(fraction(-5, 4), x2, y2)
    y2 = multiplyAdd(fraction(1, 4), x3, y2)
    y2 = multiplyAdd(fraction(1, 2), x4, y2)
    store(y2, target + 2 &* targetStride)
    var y3 = x4
    y3 = multiplyAdd(fraction(-2, 1), x1, y3)
    y3 -= x2
    y3 = multiplyAdd(fraction(2, 1), x3, y3)
    store(y3, target + 3 &* targetStride)
    var y4 = x4
    y4 = multiplyAdd(fraction(1, 2), x1, y4)
    y4 -= x2
    y4 = multiplyAdd(fraction(-1, 2), x3, y4)
    store(y4, target + 4 &* targetStride)
    var y5 = fraction(1, 2) * x1
    y5 = multiplyAdd(fraction(-3, 4), x2, y5)
    y5 -= x3
    y5 = multiplyAdd(fraction(3, 4), x4, y5)
    y5 = multiplyAdd(fraction(1, 2), x5, y5)
    store(y5, target + 5 &* targetStride)
}

@_transparent
func multiplyAT3x4(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let x4 = load(source + 4 &* stride)
    let x5 = load(source + 5 &* stride)
    let sum1 = x1 + x2
    let difference1 = x1 - x2
    var y0 = x0
    y0 += sum1
    y0 += x3
    y0 += x4
    store(y0, target + 0 &* targetStride)
    var y1 = difference1
    y1 = multiplyAdd(fraction(1, 2), x3, y1)
    y1 = multiplyAdd(fraction(-2, 1), x4, y1)
    store(y1, target + 1 &* targetStride)
    var y2 = sum1
    y2 += x5
    y2 = multiplyAdd(fraction(1, 4), x3, y2)
    y2 = multiplyAdd(fraction(4, 1), x4, y2)
    store(y2, target + 2 &* targetStride)
}

@_transparent
func multiplyG3x4(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let y0 = fraction(2, 1) * x0
    store(y0, target + 0 &* targetStride)
    var even1 = fraction(2, 3) * x1
    even1 = multiplyAdd(fraction(2, 3), x3, even1)
    var odd1 = fraction(2, 3) * x0
    odd1 = multiplyAdd(fraction(2, 3), x2, odd1)
    store(even1 + odd1, target + 1 &* targetStride)
    store(even1 - odd1, target + 2 &* targetStride)
    var y3 = fraction(-16, 15) * x0
    y3 = multiplyAdd(fraction(-8, 15), x1, y3)
    y3 = multiplyAdd(fraction(-4, 15), x2, y3)
    y3 = multiplyAdd(fraction(-2, 15), x3, y3)
    store(y3, target + 3 &* targetStride)
    var y4 = fraction(1, 15) * x0
    y4 = multiplyAdd(fraction(-2, 15), x1, y4)
    y4 = multiplyAdd(fraction(4, 15), x2, y4)
    y4 = multiplyAdd(fraction(-8, 15), x3, y4)
    store(y4, target + 4 &* targetStride)
    let y5 = fraction(2, 1) * x3
    store(y5, target + 5 &* targetStride)
}

@_transparent
func multiplyA3x4(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let y0 = x0
    store(y0, target + 0 &* targetStride)
    var even1 = x0
    even1 += x2
    let odd1 = x1
    store(even1 + odd1, target + 1 &* targetStride)
    store(even1 - odd1, target + 2 &* targetStride)
    var y3 = x0
    y3 = multiplyAdd(fraction(1, 2), x1, y3)
    y3 = multiplyAdd(fraction(1, 4), x2, y3)
    store(y3, target + 3 &* targetStride)
    var y4 = x0
    y4 = multiplyAdd(fraction(-2, 1), x1, y4)
    y4 = multiplyAdd(fraction(4, 1), x2, y4)
    store(y4, target + 4 &* targetStride)
    let y5 = x2
    store(y5, target + 5 &* targetStride)
}

@_transparent
func multiplyGT3x4(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let x4 = load(source + 4 &* stride)
    let x5 = load(source + 5 &* stride)
    let sum1 = x1 + x2
    let difference1 = x1 - x2
    var y0 = fraction(2, 1) * x0
    y0 = multiplyAdd(fraction(2, 3), difference1, y0)
    y0 = multiplyAdd(fraction(-16, 15), x3, y0)
    y0 = multiplyAdd(fraction(1, 15), x4, y0)
    store(y0, target + 0 &* targetStride)
    var y1 = fraction(2, 3) * sum1
    y1 = multiplyAdd(fraction(-8, 15), x3, y1)
    y1 = multiplyAdd(fraction(-2, 15), x4, y1)
    store(y1, target + 1 &* targetStride)
    var y2 = fraction(2, 3) * difference1
    y2 = multiplyAdd(fraction(-4, 15), x3, y2)
    y2 = multiplyAdd(fraction(4, 15), x4, y2)
    store(y2, target + 2 &* targetStride)
    var y3 = fraction(2, 3) * sum1
    y3 = multiplyAdd(fraction(-2, 15), x3, y3)
    y3 = multiplyAdd(fraction(-8, 15), x4, y3)
    y3 = multiplyAdd(fraction(2, 1), x5, y3)
    store(y3, target + 3 &* targetStride)
}

// MARK: F(4 x 4, 4 x 4), points 0, 1, -1, 2, -2, 1/2, infinity

private func winogradInput4x4(_ w: WinogradWindows) {
    transformWindows(w, window: 7, points: 7, step: 4, transform: multiplyBT4x4)
}

private func winogradOutputGradient4x4(_ w: WinogradWindows) {
    transformWindows(w, window: 4, points: 7, step: 4, transform: multiplyA4x4)
}

private func winogradOutput4x4(_ w: WinogradOutput) {
    transformOutput(w, points: 7, m: 4, transform: multiplyAT4x4)
}

private func winogradWeights4x4(_ w: WinogradWeights) {
    transformWeights(w, points: 7, r: 4, transform: multiplyG4x4)
}

private func winogradWeightGradient4x4(_ w: WinogradWeightGradient) {
    transformWeightGradient(w, points: 7, r: 4, transform: multiplyGT4x4)
}

@_transparent
func multiplyBT4x4(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let x4 = load(source + 4 &* stride)
    let x5 = load(source + 5 &* stride)
    let x6 = load(source + 6 &* stride)
    var y0 = x1
    y0 = multiplyAdd(fraction(-1, 2), x0, y0)
    y0 = multiplyAdd(fraction(5, 8), x2, y0)
    y0 = multiplyAdd(fraction(-5, 4), x3, y0)
    y0 = multiplyAdd(fraction(-1, 8), x4, y0)
    y0 = multiplyAdd(fraction(1, 4), x5, y0)
    store(y0, target + 0 &* targetStride)
    var y1 = fraction(1, 2) * x1
    y1 = multiplyAdd(fraction(-1, 2), x2, y1)
    y1 = multiplyAdd(fraction(-9, 8), x3, y1)
    y1 = multiplyAdd(fraction(1, 8), x4, y1)
    y1 = multiplyAdd(fraction(1, 4), x5, y1)
    store(y1, target + 1 &* targetStride)
    var y2 = fraction(-1, 4) * x1
    y2 = multiplyAdd(fraction(3, 4), x2, y2)
    y2 = multiplyAdd(fraction(-7, 16), x3, y2)
    y2 = multiplyAdd(fraction(-3, 16), x4, y2)
    y2 = multiplyAdd(fraction(1, 8), x5, y2)
    store(y2, target + 2 &* targetStride)
    var y3 = fraction(1, 4) * x1
    y3 = multiplyAdd(fraction(-3, 8), x2, y3)
    y3 = multiplyAdd(fraction(-1, 2), x3, y3)
    y3 = multiplyAdd(fraction(3, 8), x4, y3)
    y3 = multiplyAdd(fraction(1, 4), x5, y3)
    store(y3, target + 3 &* targetStride)
    var y4 = fraction(-1, 4) * x1
    y4 = multiplyAdd(fraction(5, 8), x2, y4)
    y4 = multiplyAdd(fraction(-5, 8), x4, y4)
    y4 = multiplyAdd(fraction(1, 4), x5, y4)
    store(y4, target + 4 &* targetStride)
    var y5 = fraction(2, 1) * x1
    y5 = multiplyAdd(fraction(-5, 2), x3, y5)
    y5 = multiplyAdd(fraction(1, 2), x5, y5)
    store(y5, target + 5 &* targetStride)
    var y6 = fraction(-1, 1) * x1
    y6 = multiplyAdd(fraction(2, 1), x2, y6)
    y6 = multiplyAdd(fraction(5, 4), x3, y6)
    y6 = multiplyAdd(fraction(-5, 2), x4, y6)
    y6 = multiplyAdd(fraction(-1, 4), x5, y6)
    y6 = multiplyAdd(fraction(1, 2), x6, y6)
    store(y6, target + 6 &* targetStride)
}

@_transparent
func multiplyAT4x4(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let x4 = load(source + 4 &* stride)
    let x5 = load(source + 5 &* stride)
    let x6 = load(source + 6 &* stride)
    let sum1 = x1 + x2
    let difference1 = x1 - x2
    let sum3 = x3 + x4
    let difference3 = x3 - x4
    var y0 = x0
    y0 += sum1
    y0 += sum3
    y0 += x5
    store(y0, target + 0 &* targetStride)
    var y1 = difference1
    y1 = multiplyAdd(fraction(2, 1), difference3, y1)
    y1 = multiplyAdd(fraction(1, 2), x5, y1)
    store(y1, target + 1 &* targetStride)
    var y2 = sum1
    y2 = multiplyAdd(fraction(4, 1), sum3, y2)
    y2 = multiplyAdd(fraction(1, 4), x5, y2)
    store(y2, target + 2 &* targetStride)
    var y3 = difference1
    y3 += x6
    y3 = multiplyAdd(fraction(8, 1), difference3, y3)
    y3 = multiplyAdd(fraction(1, 8), x5, y3)
    store(y3, target + 3 &* targetStride)
}

@_transparent
func multiplyG4x4(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let y0 = fraction(-2, 1) * x0
    store(y0, target + 0 &* targetStride)
    var y1 = fraction(-4, 3) * x0
    y1 = multiplyAdd(fraction(-4, 3), x1, y1)
    y1 = multiplyAdd(fraction(-4, 3), x2, y1)
    y1 = multiplyAdd(fraction(-4, 3), x3, y1)
    store(y1, target + 1 &* targetStride)
    var y2 = fraction(8, 9) * x0
    y2 = multiplyAdd(fraction(-8, 9), x1, y2)
    y2 = multiplyAdd(fraction(8, 9), x2, y2)
    y2 = multiplyAdd(fraction(-8, 9), x3, y2)
    store(y2, target + 2 &* targetStride)
    var y3 = fraction(1, 9) * x0
    y3 = multiplyAdd(fraction(2, 9), x1, y3)
    y3 = multiplyAdd(fraction(4, 9), x2, y3)
    y3 = multiplyAdd(fraction(8, 9), x3, y3)
    store(y3, target + 3 &* targetStride)
    var y4 = fraction(-1, 15) * x0
    y4 = multiplyAdd(fraction(2, 15), x1, y4)
    y4 = multiplyAdd(fraction(-4, 15), x2, y4)
    y4 = multiplyAdd(fraction(8, 15), x3, y4)
    store(y4, target + 4 &* targetStride)
    var y5 = fraction(64, 45) * x0
    y5 = multiplyAdd(fraction(32, 45), x1, y5)
    y5 = multiplyAdd(fraction(16, 45), x2, y5)
    y5 = multiplyAdd(fraction(8, 45), x3, y5)
    store(y5, target + 5 &* targetStride)
    let y6 = fraction(2, 1) * x3
    store(y6, target + 6 &* targetStride)
}

@_transparent
func multiplyA4x4(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let y0 = x0
    store(y0, target + 0 &* targetStride)
    var even1 = x0
    even1 += x2
    var odd1 = x1
    odd1 += x3
    store(even1 + odd1, target + 1 &* targetStride)
    store(even1 - odd1, target + 2 &* targetStride)
    var even3 = x0
    even3 = multiplyAdd(fraction(4, 1), x2, even3)
    var odd3 = fraction(2, 1) * x1
    odd3 = multiplyAdd(fraction(8, 1), x3, odd3)
    store(even3 + odd3, target + 3 &* targetStride)
    store(even3 - odd3, target + 4 &* targetStride)
    var y5 = x0
    y5 = multiplyAdd(fraction(1, 2), x1, y5)
    y5 = multiplyAdd(fraction(1, 4), x2, y5)
    y5 = multiplyAdd(fraction(1, 8), x3, y5)
    store(y5, target + 5 &* targetStride)
    let y6 = x3
    store(y6, target + 6 &* targetStride)
}

@_transparent
func multiplyGT4x4(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let x4 = load(source + 4 &* stride)
    let x5 = load(source + 5 &* stride)
    let x6 = load(source + 6 &* stride)
    var y0 = fraction(-2, 1) * x0
    y0 = multiplyAdd(fraction(-4, 3), x1, y0)
    y0 = multiplyAdd(fraction(8, 9), x2, y0)
    y0 = multiplyAdd(fraction(1, 9), x3, y0)
    y0 = multiplyAdd(fraction(-1, 15), x4, y0)
    y0 = multiplyAdd(fraction(64, 45), x5, y0)
    store(y0, target + 0 &* targetStride)
    var y1 = fraction(-4, 3) * x1
    y1 = multiplyAdd(fraction(-8, 9), x2, y1)
    y1 = multiplyAdd(fraction(2, 9), x3, y1)
    y1 = multiplyAdd(fraction(2, 15), x4, y1)
    y1 = multiplyAdd(fraction(32, 45), x5, y1)
    store(y1, target + 1 &* targetStride)
    var y2 = fraction(-4, 3) * x1
    y2 = multiplyAdd(fraction(8, 9), x2, y2)
    y2 = multiplyAdd(fraction(4, 9), x3, y2)
    y2 = multiplyAdd(fraction(-4, 15), x4, y2)
    y2 = multiplyAdd(fraction(16, 45), x5, y2)
    store(y2, target + 2 &* targetStride)
    var y3 = fraction(-4, 3) * x1
    y3 = multiplyAdd(fraction(-8, 9), x2, y3)
    y3 = multiplyAdd(fraction(8, 9), x3, y3)
    y3 = multiplyAdd(fraction(8, 15), x4, y3)
    y3 = multiplyAdd(fraction(8, 45), x5, y3)
    y3 = multiplyAdd(fraction(2, 1), x6, y3)
    store(y3, target + 3 &* targetStride)
}

// MARK: F(5 x 5, 4 x 4), points 0, 1, -1, 2, -2, 1/2, -1/2, infinity

private func winogradInput5x4(_ w: WinogradWindows) {
    transformWindows(w, window: 8, points: 8, step: 5, transform: multiplyBT5x4)
}

private func winogradOutputGradient5x4(_ w: WinogradWindows) {
    transformWindows(w, window: 5, points: 8, step: 5, transform: multiplyA5x4)
}

private func winogradOutput5x4(_ w: WinogradOutput) {
    transformOutput(w, points: 8, m: 5, transform: multiplyAT5x4)
}

private func winogradWeights5x4(_ w: WinogradWeights) {
    transformWeights(w, points: 8, r: 4, transform: multiplyG5x4)
}

private func winogradWeightGradient5x4(_ w: WinogradWeightGradient) {
    transformWeightGradient(w, points: 8, r: 4, transform: multiplyGT5x4)
}

@_transparent
func multiplyBT5x4(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let x4 = load(source + 4 &* stride)
    let x5 = load(source + 5 &* stride)
    let x6 = load(source + 6 &* stride)
    let x7 = load(source + 7 &* stride)
    var y0 = fraction(-1, 2) * x0
    y0 = multiplyAdd(fraction(21, 8), x2, y0)
    y0 = multiplyAdd(fraction(-21, 8), x4, y0)
    y0 = multiplyAdd(fraction(1, 2), x6, y0)
    store(y0, target + 0 &* targetStride)
    var even1 = fraction(1, 4) * x2
    even1 = multiplyAdd(fraction(-17, 16), x4, even1)
    even1 = multiplyAdd(fraction(1, 4), x6, even1)
    var odd1 = fraction(1, 4) * x1
    odd1 = multiplyAdd(fraction(-17, 16), x3, odd1)
    odd1 = multiplyAdd(fraction(1, 4), x5, odd1)
    store(even1 + odd1, target + 1 &* targetStride)
    store(even1 - odd1, target + 2 &* targetStride)
    var even3 = fraction(1, 16) * x2
    even3 = multiplyAdd(fraction(-5, 16), x4, even3)
    even3 = multiplyAdd(fraction(1, 4), x6, even3)
    var odd3 = fraction(1, 8) * x1
    odd3 = multiplyAdd(fraction(-5, 8), x3, odd3)
    odd3 = multiplyAdd(fraction(1, 2), x5, odd3)
    store(even3 + odd3, target + 3 &* targetStride)
    store(even3 - odd3, target + 4 &* targetStride)
    var even5 = fraction(2, 1) * x2
    even5 = multiplyAdd(fraction(-5, 2), x4, even5)
    even5 = multiplyAdd(fraction(1, 2), x6, even5)
    var odd5 = x1
    odd5 = multiplyAdd(fraction(-5, 4), x3, odd5)
    odd5 = multiplyAdd(fraction(1, 4), x5, odd5)
    store(even5 + odd5, target + 5 &* targetStride)
    store(even5 - odd5, target + 6 &* targetStride)
    var y7 = fraction(-1, 2) * x1
    y7 = multiplyAdd(fraction(21, 8), x3, y7)
    y7 = multiplyAdd(fraction(-21, 8), x5, y7)
    y7 = multiplyAdd(fraction(1, 2), x7, y7)
    store(y7, target + 7 &* targetStride)
}

@_transparent
func multiplyAT5x4(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let x4 = load(source + 4 &* stride)
    let x5 = load(source + 5 &* stride)
    let x6 = load(source + 6 &* stride)
    let x7 = load(source + 7 &* stride)
    let sum1 = x1 + x2
    let difference1 = x1 - x2
    let sum3 = x3 + x4
    let difference3 = x3 - x4
    let sum5 = x5 + x6
    let difference5 = x5 - x6
    var y0 = x0
    y0 += sum1
    y0 += sum3
    y0 += sum5
    store(y0, target + 0 &* targetStride)
    var y1 = difference1
    y1 = multiplyAdd(fraction(2, 1), difference3, y1)
    y1 = multiplyAdd(fraction(1, 2), difference5, y1)
    store(y1, target + 1 &* targetStride)
    var y2 = sum1
    y2 = multiplyAdd(fraction(4, 1), sum3, y2)
    y2 = multiplyAdd(fraction(1, 4), sum5, y2)
    store(y2, target + 2 &* targetStride)
    var y3 = difference1
    y3 = multiplyAdd(fraction(8, 1), difference3, y3)
    y3 = multiplyAdd(fraction(1, 8), difference5, y3)
    store(y3, target + 3 &* targetStride)
    var y4 = sum1
    y4 += x7
    y4 = multiplyAdd(fraction(16, 1), sum3, y4)
    y4 = multiplyAdd(fraction(1, 16), sum5, y4)
    store(y4, target + 4 &* targetStride)
}

@_transparent
func multiplyG5x4(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let y0 = fraction(-2, 1) * x0
    store(y0, target + 0 &* targetStride)
    var even1 = fraction(-8, 9) * x0
    even1 = multiplyAdd(fraction(-8, 9), x2, even1)
    var odd1 = fraction(-8, 9) * x1
    odd1 = multiplyAdd(fraction(-8, 9), x3, odd1)
    store(even1 + odd1, target + 1 &* targetStride)
    store(even1 - odd1, target + 2 &* targetStride)
    var even3 = fraction(2, 45) * x0
    even3 = multiplyAdd(fraction(8, 45), x2, even3)
    var odd3 = fraction(4, 45) * x1
    odd3 = multiplyAdd(fraction(16, 45), x3, odd3)
    store(even3 + odd3, target + 3 &* targetStride)
    store(even3 - odd3, target + 4 &* targetStride)
    var even5 = fraction(64, 45) * x0
    even5 = multiplyAdd(fraction(16, 45), x2, even5)
    var odd5 = fraction(32, 45) * x1
    odd5 = multiplyAdd(fraction(8, 45), x3, odd5)
    store(even5 + odd5, target + 5 &* targetStride)
    store(even5 - odd5, target + 6 &* targetStride)
    let y7 = fraction(2, 1) * x3
    store(y7, target + 7 &* targetStride)
}

@_transparent
func multiplyA5x4(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let x4 = load(source + 4 &* stride)
    let y0 = x0
    store(y0, target + 0 &* targetStride)
    var even1 = x0
    even1 += x2
    even1 += x4
    var odd1 = x1
    odd1 += x3
    store(even1 + odd1, target + 1 &* targetStride)
    store(even1 - odd1, target + 2 &* targetStride)
    var even3 = x0
    even3 = multiplyAdd(fraction(4, 1), x2, even3)
    even3 = multiplyAdd(fraction(16, 1), x4, even3)
    var odd3 = fraction(2, 1) * x1
    odd3 = multiplyAdd(fraction(8, 1), x3, odd3)
    store(even3 + odd3, target + 3 &* targetStride)
    store(even3 - odd3, target + 4 &* targetStride)
    var even5 = x0
    even5 = multiplyAdd(fraction(1, 4), x2, even5)
    even5 = multiplyAdd(fraction(1, 16), x4, even5)
    var odd5 = fraction(1, 2) * x1
    odd5 = multiplyAdd(fraction(1, 8), x3, odd5)
    store(even5 + odd5, target + 5 &* targetStride)
    store(even5 - odd5, target + 6 &* targetStride)
    let y7 = x4
    store(y7, target + 7 &* targetStride)
}

@_transparent
func multiplyGT5x4(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let x4 = load(source + 4 &* stride)
    let x5 = load(source + 5 &* stride)
    let x6 = load(source + 6 &* stride)
    let x7 = load(source + 7 &* stride)
    let sum1 = x1 + x2
    let difference1 = x1 - x2
    let sum3 = x3 + x4
    let difference3 = x3 - x4
    let sum5 = x5 + x6
    let difference5 = x5 - x6
    var y0 = fraction(-2, 1) * x0
    y0 = multiplyAdd(fraction(-8, 9), sum1, y0)
    y0 = multiplyAdd(fraction(2, 45), sum3, y0)
    y0 = multiplyAdd(fraction(64, 45), sum5, y0)
    store(y0, target + 0 &* targetStride)
    var y1 = fraction(-8, 9) * difference1
    y1 = multiplyAdd(fraction(4, 45), difference3, y1)
    y1 = multiplyAdd(fraction(32, 45), difference5, y1)
    store(y1, target + 1 &* targetStride)
    var y2 = fraction(-8, 9) * sum1
    y2 = multiplyAdd(fraction(8, 45), sum3, y2)
    y2 = multiplyAdd(fraction(16, 45), sum5, y2)
    store(y2, target + 2 &* targetStride)
    var y3 = fraction(-8, 9) * difference1
    y3 = multiplyAdd(fraction(16, 45), difference3, y3)
    y3 = multiplyAdd(fraction(8, 45), difference5, y3)
    y3 = multiplyAdd(fraction(2, 1), x7, y3)
    store(y3, target + 3 &* targetStride)
}

// MARK: F(4 x 4, 3 x 3), points 0, 1, -1, 1/2, -2, infinity

private func winogradInput4x3(_ w: WinogradWindows) {
    transformWindows(w, window: 6, points: 6, step: 4, transform: multiplyBT4x3)
}

private func winogradOutputGradient4x3(_ w: WinogradWindows) {
    transformWindows(w, window: 4, points: 6, step: 4, transform: multiplyA4x3)
}

private func winogradOutput4x3(_ w: WinogradOutput) {
    transformOutput(w, points: 6, m: 4, transform: multiplyAT4x3)
}

private func winogradWeights4x3(_ w: WinogradWeights) {
    transformWeights(w, points: 6, r: 3, transform: multiplyG4x3)
}

private func winogradWeightGradient4x3(_ w: WinogradWeightGradient) {
    transformWeightGradient(w, points: 6, r: 3, transform: multiplyGT4x3)
}

@_transparent
func multiplyBT4x3(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let x4 = load(source + 4 &* stride)
    let x5 = load(source + 5 &* stride)
    var y0 = fraction(1, 2) * x0
    y0 = multiplyAdd(fraction(-3, 4), x1, y0)
    y0 -= x2
    y0 = multiplyAdd(fraction(3, 4), x3, y0)
    y0 = multiplyAdd(fraction(1, 2), x4, y0)
    store(y0, target + 0 &* targetStride)
    var y1 = fraction(-1, 2) * x1
    y1 = multiplyAdd(fraction(1, 4), x2, y1)
    y1 = multiplyAdd(fraction(5, 4), x3, y1)
    y1 = multiplyAdd(fraction(1, 2), x4, y1)
    store(y1, target + 1 &* targetStride)
    var y2 = fraction(1, 2) * x1
    y2 = multiplyAdd(fraction(-5, 4), x2, y2)
    y2 = multiplyAdd(fraction(1, 4), x3, y2)
    y2 = multiplyAdd(fraction(1, 2), x4, y2)
    store(y2, target + 2 &* targetStride)
    var y3 = x4
    y3 = multiplyAdd(fraction(-2, 1), x1, y3)
    y3 -= x2
    y3 = multiplyAdd(fraction(2, 1), x3, y3)
    store(y3, target + 3 &* targetStride)
    var y4 = fraction(1, 4) * x1
    y4 = multiplyAdd(fraction(-1, 2), x2, y4)
    y4 = multiplyAdd(fraction(-1, 4), x3, y4)
    y4 = multiplyAdd(fraction(1, 2), x4, y4)
    store(y4, target + 4 &* targetStride)
    var y5 = fraction(1, 2) * x1
    y5 = multiplyAdd(fraction(-3, 4), x2, y5)
    y5 -= x3
    y5 = multiplyAdd(fraction(3, 4), x4, y5)
    y5 = multiplyAdd(fraction(1, 2), x5, y5)
    store(y5, target + 5 &* targetStride)
}

@_transparent
func multiplyAT4x3(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let x4 = load(source + 4 &* stride)
    let x5 = load(source + 5 &* stride)
    let sum1 = x1 + x2
    let difference1 = x1 - x2
    var y0 = x0
    y0 += sum1
    y0 += x3
    y0 += x4
    store(y0, target + 0 &* targetStride)
    var y1 = difference1
    y1 = multiplyAdd(fraction(1, 2), x3, y1)
    y1 = multiplyAdd(fraction(-2, 1), x4, y1)
    store(y1, target + 1 &* targetStride)
    var y2 = sum1
    y2 = multiplyAdd(fraction(1, 4), x3, y2)
    y2 = multiplyAdd(fraction(4, 1), x4, y2)
    store(y2, target + 2 &* targetStride)
    var y3 = difference1
    y3 += x5
    y3 = multiplyAdd(fraction(1, 8), x3, y3)
    y3 = multiplyAdd(fraction(-8, 1), x4, y3)
    store(y3, target + 3 &* targetStride)
}

@_transparent
func multiplyG4x3(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let y0 = fraction(2, 1) * x0
    store(y0, target + 0 &* targetStride)
    let even1 = fraction(2, 3) * x1
    var odd1 = fraction(2, 3) * x0
    odd1 = multiplyAdd(fraction(2, 3), x2, odd1)
    store(even1 + odd1, target + 1 &* targetStride)
    store(even1 - odd1, target + 2 &* targetStride)
    var y3 = fraction(-16, 15) * x0
    y3 = multiplyAdd(fraction(-8, 15), x1, y3)
    y3 = multiplyAdd(fraction(-4, 15), x2, y3)
    store(y3, target + 3 &* targetStride)
    var y4 = fraction(2, 15) * x0
    y4 = multiplyAdd(fraction(-4, 15), x1, y4)
    y4 = multiplyAdd(fraction(8, 15), x2, y4)
    store(y4, target + 4 &* targetStride)
    let y5 = fraction(2, 1) * x2
    store(y5, target + 5 &* targetStride)
}

@_transparent
func multiplyA4x3(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let y0 = x0
    store(y0, target + 0 &* targetStride)
    var even1 = x0
    even1 += x2
    var odd1 = x1
    odd1 += x3
    store(even1 + odd1, target + 1 &* targetStride)
    store(even1 - odd1, target + 2 &* targetStride)
    var y3 = x0
    y3 = multiplyAdd(fraction(1, 2), x1, y3)
    y3 = multiplyAdd(fraction(1, 4), x2, y3)
    y3 = multiplyAdd(fraction(1, 8), x3, y3)
    store(y3, target + 3 &* targetStride)
    var y4 = x0
    y4 = multiplyAdd(fraction(-2, 1), x1, y4)
    y4 = multiplyAdd(fraction(4, 1), x2, y4)
    y4 = multiplyAdd(fraction(-8, 1), x3, y4)
    store(y4, target + 4 &* targetStride)
    let y5 = x3
    store(y5, target + 5 &* targetStride)
}

@_transparent
func multiplyGT4x3(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let x4 = load(source + 4 &* stride)
    let x5 = load(source + 5 &* stride)
    let sum1 = x1 + x2
    let difference1 = x1 - x2
    var y0 = fraction(2, 1) * x0
    y0 = multiplyAdd(fraction(2, 3), difference1, y0)
    y0 = multiplyAdd(fraction(-16, 15), x3, y0)
    y0 = multiplyAdd(fraction(2, 15), x4, y0)
    store(y0, target + 0 &* targetStride)
    var y1 = fraction(2, 3) * sum1
    y1 = multiplyAdd(fraction(-8, 15), x3, y1)
    y1 = multiplyAdd(fraction(-4, 15), x4, y1)
    store(y1, target + 1 &* targetStride)
    var y2 = fraction(2, 3) * difference1
    y2 = multiplyAdd(fraction(-4, 15), x3, y2)
    y2 = multiplyAdd(fraction(8, 15), x4, y2)
    y2 = multiplyAdd(fraction(2, 1), x5, y2)
    store(y2, target + 2 &* targetStride)
}

// MARK: F(6 x 6, 3 x 3), points 0, 1, -1, 2, -2, 1/2, -1/2, infinity

private func winogradInput6x3(_ w: WinogradWindows) {
    transformWindows(w, window: 8, points: 8, step: 6, transform: multiplyBT6x3)
}

private func winogradOutputGradient6x3(_ w: WinogradWindows) {
    transformWindows(w, window: 6, points: 8, step: 6, transform: multiplyA6x3)
}

private func winogradOutput6x3(_ w: WinogradOutput) {
    transformOutput(w, points: 8, m: 6, transform: multiplyAT6x3)
}

private func winogradWeights6x3(_ w: WinogradWeights) {
    transformWeights(w, points: 8, r: 3, transform: multiplyG6x3)
}

private func winogradWeightGradient6x3(_ w: WinogradWeightGradient) {
    transformWeightGradient(w, points: 8, r: 3, transform: multiplyGT6x3)
}

@_transparent
func multiplyBT6x3(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let x4 = load(source + 4 &* stride)
    let x5 = load(source + 5 &* stride)
    let x6 = load(source + 6 &* stride)
    let x7 = load(source + 7 &* stride)
    var y0 = fraction(-1, 2) * x0
    y0 = multiplyAdd(fraction(21, 8), x2, y0)
    y0 = multiplyAdd(fraction(-21, 8), x4, y0)
    y0 = multiplyAdd(fraction(1, 2), x6, y0)
    store(y0, target + 0 &* targetStride)
    var even1 = fraction(1, 4) * x2
    even1 = multiplyAdd(fraction(-17, 16), x4, even1)
    even1 = multiplyAdd(fraction(1, 4), x6, even1)
    var odd1 = fraction(1, 4) * x1
    odd1 = multiplyAdd(fraction(-17, 16), x3, odd1)
    odd1 = multiplyAdd(fraction(1, 4), x5, odd1)
    store(even1 + odd1, target + 1 &* targetStride)
    store(even1 - odd1, target + 2 &* targetStride)
    var even3 = fraction(1, 32) * x2
    even3 = multiplyAdd(fraction(-5, 32), x4, even3)
    even3 = multiplyAdd(fraction(1, 8), x6, even3)
    var odd3 = fraction(1, 16) * x1
    odd3 = multiplyAdd(fraction(-5, 16), x3, odd3)
    odd3 = multiplyAdd(fraction(1, 4), x5, odd3)
    store(even3 + odd3, target + 3 &* targetStride)
    store(even3 - odd3, target + 4 &* targetStride)
    var even5 = fraction(2, 1) * x2
    even5 = multiplyAdd(fraction(-5, 2), x4, even5)
    even5 = multiplyAdd(fraction(1, 2), x6, even5)
    var odd5 = x1
    odd5 = multiplyAdd(fraction(-5, 4), x3, odd5)
    odd5 = multiplyAdd(fraction(1, 4), x5, odd5)
    store(even5 + odd5, target + 5 &* targetStride)
    store(even5 - odd5, target + 6 &* targetStride)
    var y7 = fraction(-1, 2) * x1
    y7 = multiplyAdd(fraction(21, 8), x3, y7)
    y7 = multiplyAdd(fraction(-21, 8), x5, y7)
    y7 = multiplyAdd(fraction(1, 2), x7, y7)
    store(y7, target + 7 &* targetStride)
}

@_transparent
func multiplyAT6x3(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let x4 = load(source + 4 &* stride)
    let x5 = load(source + 5 &* stride)
    let x6 = load(source + 6 &* stride)
    let x7 = load(source + 7 &* stride)
    let sum1 = x1 + x2
    let difference1 = x1 - x2
    let sum3 = x3 + x4
    let difference3 = x3 - x4
    let sum5 = x5 + x6
    let difference5 = x5 - x6
    var y0 = x0
    y0 += sum1
    y0 += sum3
    y0 += sum5
    store(y0, target + 0 &* targetStride)
    var y1 = difference1
    y1 = multiplyAdd(fraction(2, 1), difference3, y1)
    y1 = multiplyAdd(fraction(1, 2), difference5, y1)
    store(y1, target + 1 &* targetStride)
    var y2 = sum1
    y2 = multiplyAdd(fraction(4, 1), sum3, y2)
    y2 = multiplyAdd(fraction(1, 4), sum5, y2)
    store(y2, target + 2 &* targetStride)
    var y3 = difference1
    y3 = multiplyAdd(fraction(8, 1), difference3, y3)
    y3 = multiplyAdd(fraction(1, 8), difference5, y3)
    store(y3, target + 3 &* targetStride)
    var y4 = sum1
    y4 = multiplyAdd(fraction(16, 1), sum3, y4)
    y4 = multiplyAdd(fraction(1, 16), sum5, y4)
    store(y4, target + 4 &* targetStride)
    var y5 = difference1
    y5 += x7
    y5 = multiplyAdd(fraction(32, 1), difference3, y5)
    y5 = multiplyAdd(fraction(1, 32), difference5, y5)
    store(y5, target + 5 &* targetStride)
}

@_transparent
func multiplyG6x3(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let y0 = fraction(-2, 1) * x0
    store(y0, target + 0 &* targetStride)
    var even1 = fraction(-8, 9) * x0
    even1 = multiplyAdd(fraction(-8, 9), x2, even1)
    let odd1 = fraction(-8, 9) * x1
    store(even1 + odd1, target + 1 &* targetStride)
    store(even1 - odd1, target + 2 &* targetStride)
    var even3 = fraction(4, 45) * x0
    even3 = multiplyAdd(fraction(16, 45), x2, even3)
    let odd3 = fraction(8, 45) * x1
    store(even3 + odd3, target + 3 &* targetStride)
    store(even3 - odd3, target + 4 &* targetStride)
    var even5 = fraction(64, 45) * x0
    even5 = multiplyAdd(fraction(16, 45), x2, even5)
    let odd5 = fraction(32, 45) * x1
    store(even5 + odd5, target + 5 &* targetStride)
    store(even5 - odd5, target + 6 &* targetStride)
    let y7 = fraction(2, 1) * x2
    store(y7, target + 7 &* targetStride)
}

@_transparent
func multiplyA6x3(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let x4 = load(source + 4 &* stride)
    let x5 = load(source + 5 &* stride)
    let y0 = x0
    store(y0, target + 0 &* targetStride)
    var even1 = x0
    even1 += x2
    even1 += x4
    var odd1 = x1
    odd1 += x3
    odd1 += x5
    store(even1 + odd1, target + 1 &* targetStride)
    store(even1 - odd1, target + 2 &* targetStride)
    var even3 = x0
    even3 = multiplyAdd(fraction(4, 1), x2, even3)
    even3 = multiplyAdd(fraction(16, 1), x4, even3)
    var odd3 = fraction(2, 1) * x1
    odd3 = multiplyAdd(fraction(8, 1), x3, odd3)
    odd3 = multiplyAdd(fraction(32, 1), x5, odd3)
    store(even3 + odd3, target + 3 &* targetStride)
    store(even3 - odd3, target + 4 &* targetStride)
    var even5 = x0
    even5 = multiplyAdd(fraction(1, 4), x2, even5)
    even5 = multiplyAdd(fraction(1, 16), x4, even5)
    var odd5 = fraction(1, 2) * x1
    odd5 = multiplyAdd(fraction(1, 8), x3, odd5)
    odd5 = multiplyAdd(fraction(1, 32), x5, odd5)
    store(even5 + odd5, target + 5 &* targetStride)
    store(even5 - odd5, target + 6 &* targetStride)
    let y7 = x5
    store(y7, target + 7 &* targetStride)
}

@_transparent
func multiplyGT6x3(
    _ source: UnsafePointer<Float>, _ stride: Int, _ target: UnsafeMutablePointer<Float>, _ targetStride: Int
) {
    let x0 = load(source + 0 &* stride)
    let x1 = load(source + 1 &* stride)
    let x2 = load(source + 2 &* stride)
    let x3 = load(source + 3 &* stride)
    let x4 = load(source + 4 &* stride)
    let x5 = load(source + 5 &* stride)
    let x6 = load(source + 6 &* stride)
    let x7 = load(source + 7 &* stride)
    let sum1 = x1 + x2
    let difference1 = x1 - x2
    let sum3 = x3 + x4
    let difference3 = x3 - x4
    let sum5 = x5 + x6
    let difference5 = x5 - x6
    var y0 = fraction(-2, 1) * x0
    y0 = multiplyAdd(fraction(-8, 9), sum1, y0)
    y0 = multiplyAdd(fraction(4, 45), sum3, y0)
    y0 = multiplyAdd(fraction(64, 45), sum5, y0)
    store(y0, target + 0 &* targetStride)
    var y1 = fraction(-8, 9) * difference1
    y1 = multiplyAdd(fraction(8, 45), difference3, y1)
    y1 = multiplyAdd(fraction(32, 45), difference5, y1)
    store(y1, target + 1 &* targetStride)
    var y2 = fraction(-8, 9) * sum1
    y2 = multiplyAdd(fraction(16, 45), sum3, y2)
    y2 = multiplyAdd(fraction(16, 45), sum5, y2)
    y2 = multiplyAdd(fraction(2, 1), x7, y2)
    store(y2, target + 2 &* targetStride)
}
