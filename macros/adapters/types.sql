{# The engine's type for one of the portable names: varchar, json, timestamp, bigint. #}
{% macro type_of(name) -%}
    {{ return(adapter.dispatch('type_of', 'revetl')(name)) }}
{%- endmacro %}

{% macro default__type_of(name) -%}
    {{ return(name) }}
{%- endmacro %}

{% macro snowflake__type_of(name) -%}
    {{ return({'json': 'variant', 'timestamp': 'timestamp_ntz'}.get(name, name)) }}
{%- endmacro %}

{# Its timestamps are moments, shown in UTC: the type that Segment lands them in. #}
{% macro bigquery__type_of(name) -%}
    {{ return({'varchar': 'string', 'bigint': 'int64', 'double': 'float64', 'decimal(38, 0)': 'bignumeric(38)'}.get(name, name)) }}
{%- endmacro %}

{# A text without a length has 256 bytes. #}
{% macro redshift__type_of(name) -%}
    {{ return({'varchar': 'varchar(65535)', 'json': 'super', 'double': 'double precision'}.get(name, name)) }}
{%- endmacro %}

{% macro fabric__type_of(name) -%}
    {{ return({
        'varchar': 'varchar(8000)', 'json': 'varchar(max)', 'timestamp': 'datetime2(6)', 'double': 'float', 'boolean': 'bit'
    }.get(name, name)) }}
{%- endmacro %}

{% macro postgres__type_of(name) -%}
    {{ return({'json': 'jsonb', 'double': 'double precision'}.get(name, name)) }}
{%- endmacro %}

{# Documents are texts: a variant keeps neither the order of its members nor how a number was written, and is of the
   newest versions only. A plain timestamp would be a moment, which the session's zone moves. #}
{% macro spark__type_of(name) -%}
    {{ return({'varchar': 'string', 'json': 'string', 'timestamp': 'timestamp_ntz'}.get(name, name)) }}
{%- endmacro %}

{# The same with how a column of it is best stored, for `create table`. #}
{% macro stored_type_of(name) -%}
    {{ return(adapter.dispatch('stored_type_of', 'revetl')(name)) }}
{%- endmacro %}

{% macro default__stored_type_of(name) -%}
    {{ return(revetl.type_of(name)) }}
{%- endmacro %}

{# Documents are most of what is landed; compressed they are a tenth, and quicker to write. #}
{% macro duckdb__stored_type_of(name) -%}
    {{ return(name ~ (' using compression zstd' if name == 'json' else '')) }}
{%- endmacro %}

{# A number divided by another, both as double-precision numbers: so a half falls to the same side everywhere. #}
{% macro ratio(number, divisor) -%}
    {{ return(adapter.dispatch('ratio', 'revetl')(number, divisor)) }}
{%- endmacro %}

{% macro default__ratio(number, divisor) -%}
    {{ number }} / {{ divisor }}
{%- endmacro %}

{% macro snowflake__ratio(number, divisor) -%}
    cast({{ number }} as double) / {{ divisor }}
{%- endmacro %}

{% macro bigquery__ratio(number, divisor) -%}
    cast({{ number }} as float64) / {{ divisor }}
{%- endmacro %}

{% macro fabric__ratio(number, divisor) -%}
    cast({{ number }} as float) / {{ divisor }}
{%- endmacro %}

{% macro postgres__ratio(number, divisor) -%}
    cast({{ number }} as double precision) / {{ divisor }}
{%- endmacro %}

{% macro spark__ratio(number, divisor) -%}
    cast({{ number }} as double) / {{ divisor }}
{%- endmacro %}

{# A double-precision number as an exact one, halves away from zero. #}
{% macro as_decimal(number, precision, scale) -%}
    {{ return(adapter.dispatch('as_decimal', 'revetl')(number, precision, scale)) }}
{%- endmacro %}

{% macro default__as_decimal(number, precision, scale) -%}
    cast({{ number }} as decimal({{ precision }}, {{ scale }}))
{%- endmacro %}

{# The number is multiplied before it is rounded, as in DuckDB: so a half falls to the same side. #}
{% macro snowflake__as_decimal(number, precision, scale) -%}
    cast(round(({{ number }}) * {{ 10 ** scale }}) / {{ 10 ** scale }} as decimal({{ precision }}, {{ scale }}))
{%- endmacro %}

{% macro bigquery__as_decimal(number, precision, scale) -%}
    cast(round(({{ number }}) * {{ 10 ** scale }}) / {{ 10 ** scale }} as numeric({{ precision }}, {{ scale }}))
{%- endmacro %}

{# Its round takes halves to the even side. #}
{% macro redshift__as_decimal(number, precision, scale) -%}
    cast(
        trunc(({{ number }}) * {{ 10 ** scale }} + case when {{ number }} < 0 then -0.5 else 0.5 end) / {{ 10 ** scale }}
        as decimal({{ precision }}, {{ scale }})
    )
{%- endmacro %}

{% macro fabric__as_decimal(number, precision, scale) -%}
    cast(round(({{ number }}) * {{ 10 ** scale }}, 0) / {{ 10 ** scale }} as decimal({{ precision }}, {{ scale }}))
{%- endmacro %}

{# A cast would round to 15 digits first; the text has them all. #}
{% macro postgres__as_decimal(number, precision, scale) -%}
    cast(
        round(cast(cast(({{ number }}) * {{ 10 ** scale }} as text) as numeric)) / {{ 10 ** scale }}
        as decimal({{ precision }}, {{ scale }})
    )
{%- endmacro %}

{# The number is multiplied before it is rounded, as in DuckDB: so a half falls to the same side. #}
{% macro spark__as_decimal(number, precision, scale) -%}
    cast(
        cast(round(({{ number }}) * {{ 10 ** scale }}) as decimal(38, 0)) / {{ 10 ** scale }}
        as decimal({{ precision }}, {{ scale }})
    )
{%- endmacro %}

{# A value as one of the portable types; null where it does not fit. #}
{% macro safe_cast(value, type) -%}
    {{ return(adapter.dispatch('safe_cast', 'revetl')(value, type)) }}
{%- endmacro %}

{% macro default__safe_cast(value, type) -%}
    try_cast({{ value }} as {{ revetl.type_of(type) }})
{%- endmacro %}

{% macro bigquery__safe_cast(value, type) -%}
    safe_cast({{ value }} as {{ revetl.type_of(type) }})
{%- endmacro %}

{# No cast of a number may fail there, so what is too large for the type is sorted out first. #}
{% macro postgres__safe_cast(value, type) -%}
    {{ revetl.cast_within(value, type, 'numeric') }}
{%- endmacro %}

{# Its try_cast is of texts. #}
{% macro snowflake__safe_cast(value, type) -%}
    {{ revetl.cast_within(value, type, 'double') }}
{%- endmacro %}

{% macro redshift__safe_cast(value, type) -%}
    {{ revetl.cast_within(value, type, 'double precision') }}
{%- endmacro %}

{# A cast of a value that is, as a number of type `wide`, within what the type holds. #}
{% macro cast_within(value, type, wide) -%}
    {% set digits = modules.re.findall('[0-9]+', type) if type.startswith('decimal') else ['19', '0'] -%}
    {% set is_number = type.startswith('decimal') or type == 'bigint' -%}
    {% set number = 'cast(' ~ value ~ ' as ' ~ wide ~ ')' -%}
    {% set condition = 'abs(' ~ number ~ ') < 9223372036854775807' if type == 'bigint'
        else revetl.is_within(number, digits[0] | int, digits[1] | int) -%}
    {{ return('cast(' ~ ('case when ' ~ condition ~ ' then ' ~ value ~ ' end' if is_number else value) ~ ' as '
        ~ revetl.type_of(type) ~ ')') }}
{%- endmacro %}

{# A value of a type, or null by a condition, as a column of the type: on PostgreSQL, such a case has no digits. #}
{% macro value_if(condition, value, type) -%}
    {% set made = 'case when ' ~ condition ~ ' then ' ~ value ~ ' end' -%}
    {{ return('cast(' ~ made ~ ' as ' ~ revetl.type_of(type) ~ ')' if type.startswith('decimal') else made) }}
{%- endmacro %}

{# Whether a number, rounded, fits a decimal of so many digits. No literal has more than 38 of them. #}
{% macro is_within(number, digits, scale) -%}
    {% set nines = '9' * (digits - scale) or '0' -%}
    {{ return('abs(' ~ number ~ ') < ' ~ (nines ~ '.' ~ '9' * scale ~ '5' if digits < 38 else nines)) }}
{%- endmacro %}
