/// The limits of a description. Checked before anything is allocated or multiplied: within them no product
/// of sizes overflows an Int.
package enum Limits {
    /// Of the text of a description.
    package static let bytes = 60_000
    /// JSON arrays and objects within each other.
    package static let depth = 16
    /// Of one network, residual blocks, their layers and shortcuts counted.
    package static let layers = 64
    /// Channels, units, and any other size of one axis.
    package static let channels = 65_536
    package static let imageSide = 1_024
    package static let kernel = 11
    package static let stride = 4
    /// Floats in all networks together.
    package static let parameters = 1 << 28
    /// Floats in one array, for one image.
    package static let arrayFloats = 1 << 26
    package static let minimumClasses = 2
}
