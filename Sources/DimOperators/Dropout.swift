import DimRuntime

/// torch.nn.Dropout in training mode: a value is kept with probability 1 - p and then multiplied by 1 / (1 - p).
package struct Dropout {
    package let probability: Double

    package init(probability: Double) { self.probability = probability }

    /// m = 0 or 1 / (1 - p), drawn as PyTorch draws on the CPU: in the order (n, c, h, w), for each value 53 bits of two
    /// draws, the first of which is the upper half, compared with 1 - p. Probabilities 0 and 1 draw nothing. Lanes past
    /// the last channel are 0.
    package func mask(into m: Activation, _ generator: inout MersenneTwister) {
        let keep = 1 - probability
        let scale = 1 / Float(keep)
        let (channels, pixels) = (m.shape.channels, m.shape.pixels)
        Elementwise.clear(m)
        if keep <= 0 { return }
        for image in 0..<m.images {
            for c in 0..<channels {
                let target = m.block(c / 16) + image * pixels * 16 + c % 16
                if keep >= 1 {
                    for p in 0..<pixels { target[p * 16] = 1 }
                    continue
                }
                for p in 0..<pixels {
                    let high = UInt64(generator.next())
                    let bits = (high << 32 | UInt64(generator.next())) & ((1 << 53) - 1)
                    target[p * 16] = Double(bits) * 0x1p-53 < keep ? scale : 0
                }
            }
        }
    }
}
