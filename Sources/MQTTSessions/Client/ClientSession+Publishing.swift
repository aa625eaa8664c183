import MQTTPackets
import NIOCore

extension ClientSession {
    /// A publish that ended without a packet that says so.
    package struct Ended: Sendable, Equatable {
        package enum Outcome: Sendable, Equatable {
            /// The broker has it, and has forgotten the session before its last answer.
            case received
            /// It may not be sent to this broker.
            case refused(ReasonCode)
            /// Its Message Expiry Interval passed before it was sent.
            case expired
        }

        package let number: UInt64
        package let outcome: Outcome
    }

    /// Queues a message and sends it as soon as the broker's Receive Maximum lets it. At QoS 0 the number is nil, and
    /// the message is sent at once.
    ///
    /// The packet has to be one that can be encoded (`Publish.firstFault`), and at QoS 0 one that `limits` allow.
    package mutating func publish(_ publish: Publish) -> UInt64? {
        guard publish.qos != .atMostOnce else {
            sendUnacknowledged(publish)
            return nil
        }
        let number = outbound.end
        var kept = publish
        var expiresAt = Int64.max
        if let expiry = publish.properties[integer: .messageExpiryInterval] {
            // Sent with what is left of it.
            kept.properties.removeAll(.messageExpiryInterval)
            expiresAt = now + Int64(expiry) * 1_000
        }
        let message = Message(kept, expiresAt: expiresAt)
        outbound.append(
            message,
            qos: publish.qos,
            isRetained: publish.isRetained,
            ticket: keep(message, publish)
        )
        pump()
        return number
    }

    private mutating func sendUnacknowledged(_ publish: Publish) {
        switch outboundAliases.use(publish.topic) {
        case .none: encoder.encode(publish, into: &output)
        case .define(let alias): encoder.encode(publish, alias: alias, into: &output)
        case .use(let alias): encoder.encode(publish, alias: alias, includesTopic: false, into: &output)
        }
    }

    /// Takes back a message that was never sent. False where it was, or is over.
    package mutating func removeUnsent(_ number: UInt64) -> Bool {
        guard outbound.removeUnsent(number) else { return false }
        keeping?.add(.finished(incarnation: SessionKeeping.incarnation, number: number))
        return true
    }

    /// Takes away the oldest message that was never sent, and gives its number; nil where all were.
    package mutating func dropOldest() -> UInt64? {
        guard let number = outbound.dropOldest()?.number else { return nil }
        keeping?.add(.finished(incarnation: SessionKeeping.incarnation, number: number))
        return number
    }

    /// Gives up a message that was sent and has no answer. The broker may have it.
    package mutating func abandon(_ number: UInt64) {
        guard outbound.isUnfinished(number) else { return }
        retireIfReceived(outbound.head(number))
        finish(number)
    }

    /// PUBACK came: the number of the message that it ends.
    package mutating func pubackReceived(_ packetID: UInt16) -> UInt64? {
        guard let number = number(packetID, .atLeastOnce, .sent) else { return nil }
        finish(number)
        return number
    }

    /// PUBREC came: the number of the message, where it ends with it.
    package mutating func pubrecReceived(_ packetID: UInt16, _ reasonCode: ReasonCode) -> UInt64? {
        guard let head = outbound.head(of: packetID), head.qos == .exactlyOnce else {
            if version == .v5 && !reasonCode.isError { answer(.pubrel, packetID, .packetIdentifierNotFound) }
            return nil
        }
        if head.state == .sent {
            if reasonCode.isError {
                finish(head.number)
                return head.number
            }
            outbound.received(head.number)
            keeping?.add(.received(incarnation: SessionKeeping.incarnation, number: head.number))
        }
        answer(.pubrel, packetID)
        return nil
    }

    /// PUBCOMP came: the number of the message that it ends.
    package mutating func pubcompReceived(_ packetID: UInt16) -> UInt64? {
        guard let number = number(packetID, .exactlyOnce, .released) else { return nil }
        finish(number)
        return number
    }

    private mutating func number(_ packetID: UInt16, _ qos: QoS, _ state: OutboundEntry.State) -> UInt64? {
        guard let head = outbound.head(of: packetID), head.qos == qos, head.state == state else { return nil }
        return head.number
    }

    private mutating func finish(_ number: UInt64) {
        over(number)
        pump()
    }

    private mutating func over(_ number: UInt64) {
        outbound.finish(number)
        keeping?.add(.finished(incarnation: SessionKeeping.incarnation, number: number))
    }

    package mutating func pump() {
        guard isConnected else { return }
        let quota = min(limits.receiveMaximum, inFlightMax)
        while true {
            let committed = keeping?.committed ?? .max
            switch outbound.nextStep(quota: quota, committed: committed, lastTicket: lastTicket) {
            case .nothing: return
            case .mark(let number): raiseSendMark(from: number)
            case .release(let number):
                answer(.pubrel, OutboundQueue.packetID(number))
                outbound.released()
            case .publish(let number):
                guard !requests.contains(OutboundQueue.packetID(number)) else { return }
                sendNext()
            }
        }
    }

    /// The next message of the queue; one that may not be sent ends here.
    private mutating func sendNext() {
        let (head, message, _) = outbound.next()
        guard let message else { return over(head.number) }
        let expiry = message.remainingExpiry(at: now)
        if expiry == 0 && !head.isBegun { return end(head.number, .expired) }
        var publish = PublishHead(
            firstByte: 0x30 | head.qos.rawValue << 1 | (head.isRetained ? 1 : 0) | (head.isBegun ? 8 : 0),
            packetID: OutboundQueue.packetID(head.number),
            version: version
        )
        publish.expiry = version == .v5 ? expiry : nil
        publish.measure(message.view, [])
        let refusal = limits.refusal(qos: head.qos, isRetained: head.isRetained, packetBytes: publish.packetBytes)
        if let refusal {
            retireIfReceived(head)
            return end(head.number, .refused(refusal))
        }
        write(publish, message)
        outbound.published()
    }

    private mutating func write(_ publish: PublishHead, _ message: Message) {
        let payload = message.largePayload
        let bytes = publish.packetBytes - (payload?.readableBytes ?? 0)
        let source = message.bytes
        output.writeWithUnsafeMutableBytes(minimumWritableBytes: bytes) { target in
            publish.write(to: target, [], source.span, message.view, includingPayload: payload == nil)
        }
        if let payload { output.writeImmutableBuffer(payload) }
    }

    private mutating func end(_ number: UInt64, _ outcome: Ended.Outcome) {
        over(number)
        ended.append(Ended(number: number, outcome: outcome))
    }

    /// The broker may hold the identifier for received: another message with it would be taken for the same.
    private mutating func retireIfReceived(_ head: OutboundHead) {
        guard head.qos == .exactlyOnce, head.state != .queued || head.isBegun else { return }
        let packetID = OutboundQueue.packetID(head.number)
        outbound.retire(packetID)
        keeping?.add(.retired(incarnation: SessionKeeping.incarnation, packetID: packetID))
    }
}
