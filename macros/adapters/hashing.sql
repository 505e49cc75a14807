{# 32 hex digits of a text: the id of an identifier. Equal on every engine. #}
{% macro hash_text(text) -%}
    {{ return(adapter.dispatch('hash_text', 'revetl')(text)) }}
{%- endmacro %}

{% macro default__hash_text(text) -%}
    md5({{ text }})
{%- endmacro %}

{# Its md5 gives bytes. #}
{% macro bigquery__hash_text(text) -%}
    to_hex(md5({{ text }}))
{%- endmacro %}

{% macro fabric__hash_text(text) -%}
    lower(convert(varchar(32), hashbytes('MD5', {{ text }}), 2))
{%- endmacro %}

{# The same as a whole number, in the order of the texts: its first 63 bits. #}
{% macro hash_bits(text) -%}
    {{ return(adapter.dispatch('hash_bits', 'revetl')(text)) }}
{%- endmacro %}

{% macro default__hash_bits(text) -%}
    cast(cast(('x' || substr(md5({{ text }}), 1, 16)) as bit(64)) >> 1 as bigint)
{%- endmacro %}

{% macro snowflake__hash_bits(text) -%}
    bitshiftright(md5_number_upper64({{ text }}), 1)
{%- endmacro %}

{# Fifteen digits are 60 bits; the last three are the first of the sixteenth. #}
{% macro bigquery__hash_bits(text) -%}
    {% set digits = "to_hex(md5(" ~ text ~ "))" -%}
    (cast('0x' || substr({{ digits }}, 1, 15) as int64) << 3 | cast('0x' || substr({{ digits }}, 16, 1) as int64) >> 1)
{%- endmacro %}

{# The same; whole numbers divide to whole numbers. #}
{% macro redshift__hash_bits(text) -%}
    (strtol(substring(md5({{ text }}), 1, 15), 16) * 8 + strtol(substring(md5({{ text }}), 16, 1), 16) / 2)
{%- endmacro %}

{# Seven bytes, and seven bits of the eighth. #}
{% macro fabric__hash_bits(text) -%}
    {% set bytes = "hashbytes('MD5', " ~ text ~ ")" -%}
    (
        convert(bigint, convert(binary(7), substring({{ bytes }}, 1, 7))) * 128
        + convert(int, substring({{ bytes }}, 8, 1)) / 2
    )
{%- endmacro %}

{% macro duckdb__hash_bits(text) -%}
    cast(cast('0x' || left(md5({{ text }}), 16) as ubigint) >> 1 as bigint)
{%- endmacro %}

{# Read as a number with a sign, and moved as one without. #}
{% macro spark__hash_bits(text) -%}
    shiftrightunsigned(cast(conv(substr(md5({{ text }}), 1, 16), 16, -10) as bigint), 1)
{%- endmacro %}

{# A 63-bit whole number of a text, by whatever the engine does fastest, and so not the same everywhere. #}
{% macro hash_number(text) -%}
    {{ return(adapter.dispatch('hash_number', 'revetl')(text)) }}
{%- endmacro %}

{% macro default__hash_number(text) -%}
    cast(('x' || substr(md5({{ text }}), 1, 15))::bit(60) as bigint)
{%- endmacro %}

{% macro snowflake__hash_number(text) -%}
    bitand(hash({{ text }}), 9223372036854775807)
{%- endmacro %}

{% macro bigquery__hash_number(text) -%}
    (farm_fingerprint({{ text }}) & 9223372036854775807)
{%- endmacro %}

{% macro redshift__hash_number(text) -%}
    (farmfingerprint64({{ text }}) & 9223372036854775807)
{%- endmacro %}

{% macro fabric__hash_number(text) -%}
    (convert(bigint, substring(hashbytes('MD5', {{ text }}), 1, 8)) & 9223372036854775807)
{%- endmacro %}

{% macro postgres__hash_number(text) -%}
    (hashtextextended({{ text }}, 0) & 9223372036854775807)
{%- endmacro %}

{% macro duckdb__hash_number(text) -%}
    cast(hash({{ text }}) >> 1 as bigint)
{%- endmacro %}

{% macro spark__hash_number(text) -%}
    shiftrightunsigned(xxhash64({{ text }}), 1)
{%- endmacro %}

{# The same of several columns; null in one of them is no null of the whole. #}
{% macro hash_columns(columns) -%}
    {{ return(adapter.dispatch('hash_columns', 'revetl')(columns)) }}
{%- endmacro %}

{% macro default__hash_columns(columns) -%}
    {% set parts = [] -%}
    {% for column in columns -%}
        {% do parts.append("coalesce(cast(" ~ column ~ " as " ~ revetl.type_of('varchar') ~ "), '')") -%}
    {% endfor -%}
    {{ revetl.hash_number(parts | join(" || '|' || ")) }}
{%- endmacro %}

{% macro snowflake__hash_columns(columns) -%}
    bitand(hash({{ columns | join(', ') }}), 9223372036854775807)
{%- endmacro %}

{# A row's JSON quotes its texts, and tells null from an empty one. #}
{% macro bigquery__hash_columns(columns) -%}
    {{ revetl.hash_number('to_json_string(struct(' ~ columns | join(', ') ~ '))') }}
{%- endmacro %}

{# A text is its own length and itself, and null is no digit: so no two rows have one text. #}
{% macro redshift__hash_columns(columns) -%}
    {% set parts = [] -%}
    {% for column in columns -%}
        {% set text = "cast(" ~ column ~ " as " ~ revetl.type_of('varchar') ~ ")" -%}
        {% do parts.append("coalesce(len(" ~ text ~ ") || ':' || " ~ text ~ ", '-')") -%}
    {% endfor -%}
    {{ revetl.hash_number(parts | join(' || ')) }}
{%- endmacro %}

{% macro fabric__hash_columns(columns) -%}
    {% set parts = [] -%}
    {% for column in columns -%}
        {% set text = "cast(" ~ column ~ " as " ~ revetl.type_of('varchar') ~ ")" -%}
        {% do parts.append("coalesce(concat(len(" ~ text ~ " + '.'), ':') + " ~ text ~ ", '-')") -%}
    {% endfor -%}
    {{ revetl.hash_number('concat(' ~ parts | join(', ') ~ ')') }}
{%- endmacro %}

{# A row's text quotes its values, and tells null from an empty one. #}
{% macro postgres__hash_columns(columns) -%}
    {{ revetl.hash_number('cast(row(' ~ columns | join(', ') ~ ') as text)') }}
{%- endmacro %}

{% macro duckdb__hash_columns(columns) -%}
    cast(hash({{ columns | join(', ') }}) >> 1 as bigint)
{%- endmacro %}

{# It passes over a null, so that a value is hashed with whether it is one: else it could change its column unseen. #}
{% macro spark__hash_columns(columns) -%}
    {% set parts = [] -%}
    {% for column in columns -%}
        {% do parts.append(column ~ ' is null, ' ~ column) -%}
    {% endfor -%}
    shiftrightunsigned(xxhash64({{ parts | join(', ') }}), 1)
{%- endmacro %}

{# A JSON column as it is hashed. #}
{% macro hashed_document(column) -%}
    {{ return(adapter.dispatch('hashed_document', 'revetl')(column)) }}
{%- endmacro %}

{% macro default__hashed_document(column) -%}
    {{ return(column) }}
{%- endmacro %}

{# Only a text has one there. #}
{% macro redshift__hashed_document(column) -%}
    {{ return('json_serialize(' ~ column ~ ')') }}
{%- endmacro %}

{# A number of 0 to `buckets` - 1 that a text falls into, for ever and on every engine: its md5's first 32 bits, modulo
   `buckets`. #}
{% macro bucket(text, buckets) -%}
    {{ return(adapter.dispatch('bucket', 'revetl')(text, buckets)) }}
{%- endmacro %}

{% macro default__bucket(text, buckets) -%}
    (({{ revetl.hash_bits(text) }} >> 31) % {{ buckets }})
{%- endmacro %}

{% macro snowflake__bucket(text, buckets) -%}
    mod(bitshiftright({{ revetl.hash_bits(text) }}, 31), {{ buckets }})
{%- endmacro %}

{% macro bigquery__bucket(text, buckets) -%}
    mod({{ revetl.hash_bits(text) }} >> 31, {{ buckets }})
{%- endmacro %}

{% macro spark__bucket(text, buckets) -%}
    mod(shiftright({{ revetl.hash_bits(text) }}, 31), {{ buckets }})
{%- endmacro %}

{# Whole numbers divide to whole numbers. #}
{% macro fabric__bucket(text, buckets) -%}
    (({{ revetl.hash_bits(text) }} / 2147483648) % {{ buckets }})
{%- endmacro %}
