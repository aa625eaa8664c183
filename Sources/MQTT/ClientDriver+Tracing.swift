import Logging
import MQTTPackets
import NIOCore

extension ClientDriver {
    func trace(_ what: Logger.Message, _ kind: PacketKind, bytes: Int) {
        logger.trace(what, metadata: ["packet": "\(kind)", "bytes": "\(bytes)"])
    }

    /// What is about to be written: whole packets.
    func traceSent(_ output: ByteBuffer) {
        let bytes = output.readableBytesUInt8Span
        var at = 0
        while let header = try? FixedHeader.read(bytes, at: at, packetBytesMax: .max), let kind = header.kind {
            trace("sent", kind, bytes: header.packetBytes)
            at += header.packetBytes
        }
    }
}
