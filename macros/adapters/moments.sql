{# A text as a moment in UTC: ISO 8601, with a zone or without; null where it is none. #}
{% macro time_of(text) -%}
    {{ return(adapter.dispatch('time_of', 'revetl')(text)) }}
{%- endmacro %}

{% macro default__time_of(text) -%}
    cast(try_cast({{ revetl.with_zone(text) }} as timestamptz) at time zone 'UTC' as timestamp)
{%- endmacro %}

{# No cast of its versions before 16 may fail, so what is no day is sorted out first. #}
{% macro postgres__time_of(text) -%}
    {% set day = "cast(left(" ~ text ~ ", 7) || '-01' as date) + (cast(substr(" ~ text ~ ", 9, 2) as int) - 1)" -%}
    {% set clock = '([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,9})?)?' -%}
    case
        when
            {{ text }} ~ '^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01]){{ clock }}(Z|[+-][01][0-9](:?[0-5][0-9])?)?)?$'
            then case
                when to_char({{ day }}, 'MM') = substr({{ text }}, 6, 2) and {{ text }} not like '0000%'
                    then cast({{ revetl.with_zone(text) }} as timestamptz) at time zone 'UTC'
            end
    end
{%- endmacro %}

{% macro snowflake__time_of(text) -%}
    cast(convert_timezone('UTC', try_to_timestamp_tz({{ revetl.with_zone(text) }})) as timestamp_ntz)
{%- endmacro %}

{# What has no zone is UTC there. #}
{% macro bigquery__time_of(text) -%}
    safe_cast({{ text }} as timestamp)
{%- endmacro %}

{% macro redshift__time_of(text) -%}
    cast(try_cast({{ revetl.with_zone(text) }} as timestamptz) at time zone 'UTC' as timestamp)
{%- endmacro %}

{# A moment is shown by the session's zone, and moved from it. #}
{% macro spark__time_of(text) -%}
    convert_timezone('UTC', cast(try_cast({{ revetl.with_zone(text) }} as timestamp) as timestamp_ntz))
{%- endmacro %}

{% macro fabric__time_of(text) -%}
    cast(try_cast({{ revetl.with_zone(text) }} as datetimeoffset(6)) at time zone 'UTC' as datetime2(6))
{%- endmacro %}

{# An ISO 8601 text with a zone at its end: UTC where it had none. #}
{% macro with_zone(text) -%}
    case
        when {{ revetl.matches(text, ':[0-9.]+(Z|[+-][0-9]{2}(:?[0-9]{2})?)$') }} then {{ text }}
        when {{ text }} like '____-__-__' then {{ dbt.concat([text, "'T00:00:00Z'"]) }}
        else {{ dbt.concat([text, "'Z'"]) }}
    end
{%- endmacro %}
