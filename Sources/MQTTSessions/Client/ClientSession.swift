import MQTTPackets
import NIOCore

/// The client's end of a session: handshakes of both directions, and what is sent again on a new connection.
///
/// Packets come in through `received(_:)`; bytes to send gather in `output`, whatever else happened in the returned
/// value. Like the broker's end it knows no socket, clock or task.
package struct ClientSession: Sendable {
    /// What a packet meant for the application.
    package enum Event: Sendable, Equatable {
        case connected(Connack)
        case message(Publish)
        /// The publish with this number has reached the guarantee of its QoS, or was refused with an error.
        case published(UInt64, ReasonCode)
        case subscribed(Suback)
        case unsubscribed(Unsuback)
        case pong
        case disconnected(Disconnect)
        case authentication(Auth)
    }

    package let connect: Connect
    /// Bytes to send, in order.
    package var output = ByteBuffer()
    package var outbound = OutboundQueue()
    package private(set) var isConnected = false
    package private(set) var clientID: String
    private var inbound = ReceiveWindow()
    private var aliases: [UInt16: String] = [:]
    private var quota = 65_535
    private var nextRequestID: UInt16 = 0x7FFF
    /// Identifiers of SUBSCRIBE and UNSUBSCRIBE packets that have no answer yet.
    private var requests = PacketIDSet()
    private var startedClean = true
    private let encoder: PacketEncoder

    package init(connect: Connect) {
        self.connect = connect
        clientID = connect.clientID
        encoder = PacketEncoder(version: connect.version)
    }

    package var version: ProtocolVersion { connect.version }

    /// A transport is there: CONNECT is the first packet on it [MQTT-3.1.0-1].
    package mutating func connectionBegan(cleanStart: Bool? = nil) {
        output = ByteBuffer()
        isConnected = false
        aliases = [:]
        requests = PacketIDSet()
        inbound.connectionBegan()
        outbound.connectionEnded()
        var packet = connect
        packet.cleanStart = cleanStart ?? connect.cleanStart
        packet.clientID = clientID
        startedClean = packet.cleanStart
        if startedClean { forget() }  // [MQTT-3.1.2-4], whether CONNACK comes through or not
        send(.connect(packet))
    }

    /// Queues a message and sends it as soon as the broker's Receive Maximum lets it. At QoS 0 the number is nil.
    package mutating func publish(_ publish: Publish) -> UInt64? {
        guard publish.qos != .atMostOnce else {
            send(.publish(publish))
            return nil
        }
        let number = outbound.end
        outbound.append(Message(publish), qos: publish.qos, isRetained: publish.isRetained)
        pump()
        return number
    }

    package mutating func subscribe(_ filters: [Subscribe.Filter], properties: Properties = Properties()) -> UInt16 {
        let id = requestID()
        send(.subscribe(Subscribe(packetID: id, filters: filters, properties: properties)))
        return id
    }

    package mutating func unsubscribe(_ filters: [String]) -> UInt16 {
        let id = requestID()
        send(.unsubscribe(Unsubscribe(packetID: id, filters: filters)))
        return id
    }

    package mutating func ping() { send(.pingreq) }

    package mutating func disconnect(_ reasonCode: ReasonCode = .success, properties: Properties = Properties()) {
        send(.disconnect(Disconnect(reasonCode: reasonCode, properties: properties)))
        isConnected = false
    }

    private mutating func forget() {
        inbound = ReceiveWindow()
        outbound.sessionForgotten()
    }

    mutating func send(_ packet: Packet) { encoder.encode(packet, into: &output) }

    /// Identifiers of requests come from the upper half. Messages come there late, and wait for one that is in use
    /// [MQTT-2.2.1-3].
    private mutating func requestID() -> UInt16 {
        repeat {
            nextRequestID = nextRequestID == .max ? 0x8000 : nextRequestID + 1
        } while requests.contains(nextRequestID) || outbound.number(of: nextRequestID) != nil
        requests.insert(nextRequestID)
        return nextRequestID
    }
}

extension ClientSession {
    /// Throws where the broker breaks the protocol; the connection is then to be closed with the reason.
    package mutating func received(_ packet: Packet) throws(DecodingError) -> Event? {
        switch packet {
        case .connack(let connack): return try connackReceived(connack)
        case .publish(let publish): return try publishReceived(publish)
        case .puback(let answer):
            guard let number = number(answer.packetID, in: .sent) else { return nil }
            return finish(number, answer.reasonCode)
        case .pubrec(let answer): return pubrecReceived(answer)
        case .pubrel(let answer):
            let isKnown = inbound.released(answer.packetID)
            send(
                .pubcomp(
                    Acknowledgement(
                        packetID: answer.packetID,
                        reasonCode: isKnown || version < .v5 ? .success : .packetIdentifierNotFound
                    )
                )
            )
            return nil
        case .pubcomp(let answer):
            guard let number = number(answer.packetID, in: .released) else { return nil }
            // 0x92 says that the broker had released it before: the message has arrived all the same.
            return finish(number, .success)
        case .suback(let suback):
            requestEnded(suback.packetID)
            return .subscribed(suback)
        case .unsuback(let unsuback):
            requestEnded(unsuback.packetID)
            return .unsubscribed(unsuback)
        case .pingresp: return .pong
        case .disconnect(let disconnect): return .disconnected(disconnect)
        case .auth(let auth): return .authentication(auth)
        case .connect, .subscribe, .unsubscribe, .pingreq:
            throw .protocolError("\(packet.kind) from a server")
        }
    }

    private mutating func requestEnded(_ packetID: UInt16) {
        requests.remove(packetID)
        pump()
    }

    private mutating func connackReceived(_ connack: Connack) throws(DecodingError) -> Event {
        guard !isConnected else { throw .protocolError("a second CONNACK") }
        guard connack.reasonCode == .success else { return .connected(connack) }
        isConnected = true
        // Before 3.1.1 there is no flag: the broker keeps what it was not asked to discard.
        let isPresent = version == .v3_1 ? !startedClean : connack.sessionPresent
        if !isPresent {
            // [MQTT-3.2.2-5]: the broker has no state, so neither have we; unsent messages are kept, as new ones.
            forget()
        }
        quota = Int(connack.properties[integer: .receiveMaximum] ?? 65_535)
        clientID = connack.properties[string: .assignedClientIdentifier] ?? clientID
        pump()
        return .connected(connack)
    }

    private mutating func publishReceived(_ received: Publish) throws(DecodingError) -> Event? {
        var publish = received
        if let alias = received.properties[integer: .topicAlias].map({ UInt16($0) }) {
            if received.topic.isEmpty {
                guard let topic = aliases[alias] else { throw .protocolError("unknown topic alias") }
                publish.topic = topic
            } else {
                aliases[alias] = received.topic
            }
        }
        switch publish.qos {
        case .atMostOnce: return .message(publish)
        case .atLeastOnce:
            send(.puback(Acknowledgement(packetID: publish.packetID ?? 0)))
            return .message(publish)
        case .exactlyOnce:
            let isNew = inbound.received(publish.packetID ?? 0)
            send(.pubrec(Acknowledgement(packetID: publish.packetID ?? 0)))
            return isNew ? .message(publish) : nil
        }
    }

    private mutating func pubrecReceived(_ answer: Acknowledgement) -> Event? {
        guard let number = outbound.number(of: answer.packetID), outbound.head(number).qos == .exactlyOnce else {
            if version == .v5 && !answer.reasonCode.isError {
                send(.pubrel(Acknowledgement(packetID: answer.packetID, reasonCode: .packetIdentifierNotFound)))
            }
            return nil
        }
        if answer.reasonCode.isError && outbound.head(number).state == .sent {
            return finish(number, answer.reasonCode)
        }
        if outbound.head(number).state == .sent { outbound.received(number) }
        send(.pubrel(Acknowledgement(packetID: answer.packetID)))
        return nil
    }

    private func number(_ packetID: UInt16, in state: OutboundEntry.State) -> UInt64? {
        guard let number = outbound.number(of: packetID), outbound.head(number).state == state else { return nil }
        return number
    }

    private mutating func finish(_ number: UInt64, _ reasonCode: ReasonCode) -> Event {
        outbound.finish(number)
        pump()
        return .published(number, reasonCode)
    }

    private mutating func pump() {
        guard isConnected else { return }
        while true {
            switch outbound.nextStep(quota: quota, committed: .max) {
            case .nothing, .mark: return
            case .release(let number):
                send(.pubrel(Acknowledgement(packetID: OutboundQueue.packetID(number))))
                outbound.released()
            case .publish(let number):
                guard !requests.contains(OutboundQueue.packetID(number)) else { return }
                guard let message = outbound[number].message else { return outbound.finish(number) }
                let entry = outbound[number]
                var publish = Publish(message)
                publish.qos = entry.qos
                publish.isRetained = entry.isRetained
                publish.isDuplicate = entry.isBegun
                publish.packetID = OutboundQueue.packetID(number)
                send(.publish(publish))
                outbound.published()
            }
        }
    }
}
