import Foundation
import MQTTPackets
import NIOCore
import Testing

/// `Tests/Conformance/malformed.json` as far as it concerns the codec.
@Suite struct MalformedInputTests {
    private struct Input: Decodable {
        struct Step: Decodable {
            let send: String?
        }

        let name: String
        let `protocol`: String
        let direction: String
        let steps: [Step]
        let outcome: String
    }

    /// What must be refused, but by the session or the broker: each packet of it is right by itself.
    private static let refusedByOthers: Set<String> = [
        "second-connect", "publish-topic-alias-above-maximum", "publish-topic-alias-unknown",
        "publish-with-subscription-identifier", "publish-after-disconnect", "subscribe-no-local-on-shared",
        "server-packet-connack", "server-packet-suback", "server-packet-unsuback", "server-packet-pingresp",
        "disconnect-raises-session-expiry", "client-first-packet-not-connack", "client-publish-alias-above-maximum",
    ]

    @Test("what must be refused and is no packet is refused by the decoder, the rest is left to the session")
    func inputs() throws {
        let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Conformance/malformed.json")
        let inputs = try JSONDecoder().decode([Input].self, from: Data(contentsOf: file))
        #expect(inputs.count > 150)
        for input in inputs {
            let stream = input.steps.compactMap(\.send).flatMap { bytes($0) }
            let error = self.error(of: stream, input)
            guard input.outcome != "any" else { continue }
            let isClosed = input.outcome == "close" || input.name == "connect-protocol-level-99"
            #expect(
                (error != nil) == (isClosed && !Self.refusedByOthers.contains(input.name)),
                "\(input.name) (\(input.protocol)): \(error.map(String.init(describing:)) ?? "accepted")"
            )
        }
    }

    private func error(of stream: [UInt8], _ input: Input) -> DecodingError? {
        let version: ProtocolVersion = input.protocol == "5.0" ? .v5 : .v3_1_1
        var decoder = PacketDecoder(version: input.direction == "to-client" ? version : nil)
        var buffer = ByteBuffer(bytes: stream)
        do throws(DecodingError) {
            while try decoder.next(&buffer) != nil {}
            return nil
        } catch {
            return error
        }
    }
}
