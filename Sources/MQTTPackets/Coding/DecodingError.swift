/// Why bytes are not a packet, with the code to answer (MQTT 5.0, section 4.13).
package struct DecodingError: Error, Hashable {
    package let reasonCode: ReasonCode
    /// One phrase for the log and, in 5.0, the reason string.
    package let explanation: String

    package init(_ reasonCode: ReasonCode, _ explanation: String) {
        self.reasonCode = reasonCode
        self.explanation = explanation
    }

    package static func malformed(_ explanation: String) -> DecodingError {
        DecodingError(.malformedPacket, explanation)
    }

    static func tooManyFilters(_ most: Int) -> DecodingError {
        DecodingError(.quotaExceeded, "more than \(most) topic filters in a packet")
    }

    package static func protocolError(_ explanation: String) -> DecodingError {
        DecodingError(.protocolError, explanation)
    }
}
