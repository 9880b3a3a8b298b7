/* 16-bit samples at 16 kHz from stdin to stdout, every frame rebuilt from what DRED sends beside Opus packets, by FARGAN.
 *
 * Build it against the library of libopus 1.5 (--enable-dred); README.md has the line.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opus.h"

enum {
    RATE = 16000,
    FRAME = 320,         /* 20 ms */
    REBUILT = 20,        /* frames out of one packet's redundancy */
    MOST_BYTES = 1500,
    MOST_FRAMES = 200000
};

static void require(int fine, const char *what)
{
    if (!fine) {
        fprintf(stderr, "dred_copy: %s failed\n", what);
        exit(1);
    }
}

int main(void)
{
    int error, encoded = 0, heard;
    short frame[FRAME];
    OpusEncoder *encoder = opus_encoder_create(RATE, 1, OPUS_APPLICATION_VOIP, &error);
    OpusDecoder *decoder = opus_decoder_create(RATE, 1, &error);
    OpusDREDDecoder *parser = opus_dred_decoder_create(&error);
    OpusDRED *redundancy = opus_dred_alloc(&error);
    unsigned char(*packets)[MOST_BYTES] = malloc((size_t)MOST_FRAMES * MOST_BYTES);
    int *lengths = malloc(MOST_FRAMES * sizeof *lengths);

    require(encoder && decoder && parser && redundancy && packets && lengths, "starting");
    opus_encoder_ctl(encoder, OPUS_SET_BITRATE(64000));
    opus_encoder_ctl(encoder, OPUS_SET_COMPLEXITY(10));
    opus_encoder_ctl(encoder, OPUS_SET_PACKET_LOSS_PERC(30)); /* else no redundancy is sent */
    require(opus_encoder_ctl(encoder, OPUS_SET_DRED_DURATION(100)) == OPUS_OK, "DRED");
    opus_encoder_ctl(encoder, OPUS_SET_VBR(0));
    opus_decoder_ctl(decoder, OPUS_SET_COMPLEXITY(10));

    for (;;) {
        size_t read = fread(frame, sizeof *frame, FRAME, stdin);
        if (!read)
            break;
        memset(frame + read, 0, (FRAME - read) * sizeof *frame);
        require(encoded + REBUILT + 10 < MOST_FRAMES, "so long a recording");
        lengths[encoded] = opus_encode(encoder, frame, FRAME, packets[encoded], MOST_BYTES);
        require(lengths[encoded++] > 0, "encoding");
    }
    heard = encoded;
    memset(frame, 0, sizeof frame);
    for (int extra = 0; extra < REBUILT + 10; extra++) { /* the last frames, too, need a packet behind them */
        lengths[encoded] = opus_encode(encoder, frame, FRAME, packets[encoded], MOST_BYTES);
        encoded++;
    }
    if (!heard)
        return 0;
    require(opus_decode(decoder, packets[0], lengths[0], frame, FRAME, 0) == FRAME, "decoding");
    fwrite(frame, sizeof *frame, FRAME, stdout);
    for (int first = 1; first < heard; first += REBUILT) {
        int behind = first + REBUILT, end = 0;
        int there = opus_dred_parse(parser, redundancy, packets[behind], lengths[behind], RATE, RATE, &end, 0);
        for (int at = 0; at < REBUILT && first + at < heard; at++) {
            int samples = there > 0
                              ? opus_decoder_dred_decode(decoder, redundancy, (REBUILT - at) * FRAME, frame, FRAME)
                              : opus_decode(decoder, NULL, 0, frame, FRAME, 0);
            require(samples == FRAME, "decoding");
            fwrite(frame, sizeof *frame, FRAME, stdout);
        }
    }
    return 0;
}
