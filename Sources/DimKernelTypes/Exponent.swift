/// The argument of the kernels in `Exponential.swift`, a = sign * x - shift, and a factor for their results.
package struct Exponent {
    /// 1 or -1.
    package var sign: Float
    /// The shift in two parts, so that x - shift is rounded as if the shift had more digits than a float.
    package var shift: Float
    package var shiftRest: Float
    package var factor: Float

    package init(sign: Float = 1, shift: Double = 0, factor: Double = 1) {
        self.sign = sign
        self.shift = Float(shift)
        shiftRest = Float(shift - Double(self.shift))
        self.factor = Float(factor)
    }
}
