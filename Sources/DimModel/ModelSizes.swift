import DimArchitecture

/// Sizes of a model's arrays, in floats an image; 0 or nil for what the architecture does not have.
package struct ModelSizes {
    package let image: MapShape
    package let features: MapShape
    package let encoded: Int
    package let local: MapShape?
    package let globalMap: MapShape?
    package let conv: MapShape?
    package let fc: Int
    package let classes: Int
    /// Of the largest array of any call.
    package let largest: Int

    init(_ architecture: Architecture) {
        let resolved = architecture.resolved
        image = resolved.image
        features = resolved.featuresShape
        encoded = resolved.encodedSize
        local = resolved.local.map { MapShape(channels: 1, height: $0.input.height, width: $0.input.width) }
        globalMap = resolved.globalMapShape
        conv = resolved.convShape
        fc = resolved.fcSize ?? 0
        classes = resolved.classes ?? 0
        largest = max(image.size, features.size, encoded, globalMap?.size ?? 0, conv?.size ?? 0, fc, classes)
    }
}
