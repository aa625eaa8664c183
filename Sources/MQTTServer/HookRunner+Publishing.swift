import MQTTCore
import MQTTPackets
import NIOCore

/// `authorizePublish`, which is called where the bytes are read.
extension HookRunner {
    /// Nil where the message is published as it is.
    func decide(_ request: PublishRequest, _ view: PublishView, by client: ClientInfo) -> PacketVerdict? {
        switch ask(request, by: client) {
        case .allow: return nil
        case .deny(let reason): return .refused(Self.reason(reason, in: .puback))
        case .replace(let topic, let payload, let properties):
            let publish = Publish(
                topic: topic ?? request.topic,
                payload: payload ?? request.payload,
                qos: view.qos,
                isRetained: view.isRetained,
                isDuplicate: view.isDuplicate,
                packetID: view.qos == .atMostOnce ? nil : view.packetID,
                properties: properties ?? request.properties
            )
            do throws(DecodingError) {
                return .replaced(try encode(publish))
            } catch {
                log("authorizePublish", client, "a replacement that cannot be published: \(error.explanation)")
                return .refused(.implementationSpecificError)
            }
        }
    }

    /// The will as it may be; nil where it may not, with the reason.
    func decide(_ will: Will, by client: ClientInfo) -> (will: Will, refusal: ReasonCode?) {
        guard hooks.authorizePublish != nil else { return (will, nil) }
        switch ask(PublishRequest(will), by: client) {
        case .allow: return (will, nil)
        case .deny(let reason): return (will, Self.reason(reason, in: .connack))
        case .replace(let topic, let payload, let properties):
            var replaced = will
            replaced.topic = topic ?? will.topic
            replaced.payload = payload ?? will.payload
            replaced.properties = properties ?? will.properties
            let isAllowed = replaced.properties.elements.allSatisfy { $0.identifier.isAllowed(in: .will) }
            var message = replaced.properties
            message.removeAll(.willDelayInterval)
            do throws(DecodingError) {
                guard isAllowed, replaced.payload.readableBytes <= 65_535 else {
                    throw .malformed("more bytes or other properties than a will has")
                }
                _ = try encode(Publish(topic: replaced.topic, payload: replaced.payload, properties: message))
                return (replaced, nil)
            } catch {
                log("authorizePublish", client, "a replacement that cannot be a will: \(error.explanation)")
                return (will, .implementationSpecificError)
            }
        }
    }

    private func ask(_ request: PublishRequest, by client: ClientInfo) -> PublishDecision {
        guard let authorizePublish = hooks.authorizePublish else { return .allow }
        do {
            return try authorizePublish(client, request)
        } catch {
            log("authorizePublish", client, "\(error)")
            return .deny(.implementationSpecificError)
        }
    }

    /// The packet in the coding of 5.0, checked as one that a client sends.
    private func encode(_ publish: Publish) throws(DecodingError) -> ByteBuffer {
        guard Topics.isValidName(publish.topic) else { throw .malformed("not a topic name") }
        let (bytes, most) = (publish.payload.readableBytes + publish.properties.encodedBytes, limits.packetBytesMax)
        guard bytes <= most, publish.topic.utf8.count <= limits.topicBytesMax else {
            throw .malformed("too long")
        }
        let packet = PacketEncoder(version: .v5).encode(.publish(publish))
        let span = packet.readableBytesUInt8Span
        guard let header = try FixedHeader.read(span, at: 0, packetBytesMax: most) else {
            throw .malformed("not whole")
        }
        let view = try PublishView(span, at: 0, header: header, version: .v5)
        guard view.topicAlias == 0, !view.hasSubscriptionIdentifiers else {
            throw .malformed("a topic alias or subscription identifier")
        }
        return packet
    }
}
