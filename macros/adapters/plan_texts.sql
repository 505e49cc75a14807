{# What the JSON text of a value says of it: its first character is its type. #}

{# Whether a message has something else where an object is to be. One that has nothing there, or null, has an empty
   object. #}
{% macro is_no_object(document) -%}
    {{ return(adapter.dispatch('is_no_object', 'revetl')(document)) }}
{%- endmacro %}

{% macro default__is_no_object(document) -%}
    {% set text = revetl.json_value_text(document, []) -%}
    (not {{ revetl.is_json(text, 'object') }} and not {{ revetl.is_json(text, 'null') }})
{%- endmacro %}

{# Only what begins otherwise is read: with a blank, or wrongly. #}
{% macro duckdb__is_no_object(document) -%}
    (not {{ revetl.is_json(document, 'object') }} and json_type({{ document }}) not in ('OBJECT', 'NULL'))
{%- endmacro %}

{# Documents are texts, and may begin with a blank. #}
{% macro fabric__is_no_object(document) -%}
    left(ltrim({{ document }}), 1) not in ('{', 'n')
{%- endmacro %}

{% macro spark__is_no_object(document) -%}
    left(ltrim({{ document }}), 1) not in ('{', 'n')
{%- endmacro %}

{# Whether a JSON text is of a type. #}
{% macro is_json(text, type) -%}
    {{ return(adapter.dispatch('is_json', 'revetl')(text, type)) }}
{%- endmacro %}

{% macro default__is_json(text, type) -%}
    {% set first = 'left(' ~ text ~ ', 1)' -%}
    {% if type == 'number' -%}
    {{ first }} in ('-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9')
    {%- elif type == 'boolean' -%}
    {{ text }} in ('true', 'false')
    {%- elif type == 'null' -%}
    {{ text }} = 'null'
    {%- else -%}
    {{ first }} = '{{ {'string': '"', 'object': '{', 'array': '['}[type] }}'
    {%- endif %}
{%- endmacro %}

{# Texts are compared by their first four characters before anything else. #}
{% macro duckdb__is_json(text, type) -%}
    {% if type in ['string', 'object', 'array'] -%}
    {{ text }} like '{{ {'string': '"', 'object': '{', 'array': '['}[type] }}%'
    {%- else -%}
    {{ revetl.default__is_json(text, type) }}
    {%- endif %}
{%- endmacro %}

{# A JSON text that is a number, as a double-precision one. #}
{% macro json_number(text) -%}
    {{ return(adapter.dispatch('json_number', 'revetl')(text)) }}
{%- endmacro %}

{% macro default__json_number(text) -%}
    try_cast({{ text }} as {{ revetl.type_of('double') }})
{%- endmacro %}

{# A number of any size and kind is no error: what is too large is the largest there is, and what is too small is 0. #}
{% macro postgres__json_number(text) -%}
    {% set number = 'cast(' ~ text ~ ' as numeric)' -%}
    case when {{ revetl.is_json(text, 'number') }} then cast(
        case when abs({{ number }}) < 1e-307 then 0 else least(greatest({{ number }}, -1.7e308), 1.7e308) end
        as double precision
    ) end
{%- endmacro %}

{% macro bigquery__json_number(text) -%}
    safe_cast({{ text }} as float64)
{%- endmacro %}

{% macro redshift__json_number(text) -%}
    try_cast({{ text }} as double precision)
{%- endmacro %}

{% macro snowflake__json_number(text) -%}
    try_to_double({{ text }})
{%- endmacro %}

{# A JSON text that is a string, without its quotes and escapes; null where it is none. #}
{% macro json_string(text) -%}
    {{ return(adapter.dispatch('json_string', 'revetl')(text)) }}
{%- endmacro %}

{% macro default__json_string(text) -%}
    case when {{ revetl.is_json(text, 'string') }} then {{ revetl.json_text(revetl.as_json("'{\"a\":' || " ~ text ~ " || '}'"), 'a') }} end
{%- endmacro %}

{% macro duckdb__json_string(text) -%}
    case when {{ revetl.is_json(text, 'string') }} then cast({{ text }} as json) ->> '$' end
{%- endmacro %}

{% macro postgres__json_string(text) -%}
    case when {{ revetl.is_json(text, 'string') }} then cast({{ text }} as jsonb) #>> '{}' end
{%- endmacro %}

{% macro snowflake__json_string(text) -%}
    case when {{ revetl.is_json(text, 'string') }} then cast(parse_json({{ text }}) as varchar) end
{%- endmacro %}

{% macro bigquery__json_string(text) -%}
    case when {{ revetl.is_json(text, 'string') }} then json_value({{ text }}) end
{%- endmacro %}

{% macro redshift__json_string(text) -%}
    case when {{ revetl.is_json(text, 'string') }} then json_extract_array_element_text('[' || {{ text }} || ']', 0) end
{%- endmacro %}

{% macro spark__json_string(text) -%}
    case when {{ revetl.is_json(text, 'string') }} then get_json_object(concat('[', {{ text }}, ']'), '$[0]') end
{%- endmacro %}

{% macro fabric__json_string(text) -%}
    case when {{ revetl.is_json(text, 'string') }} then json_value(concat('[', {{ text }}, ']'), '$[0]') end
{%- endmacro %}

{# Whether a JSON text is a string in which a pattern is not found. #}
{% macro is_json_string_without(text, pattern) -%}
    {{ return(adapter.dispatch('is_json_string_without', 'revetl')(text, pattern)) }}
{%- endmacro %}

{% macro default__is_json_string_without(text, pattern) -%}
    not {{ revetl.matches(revetl.json_string(text), pattern | replace("'", "''")) }}
{%- endmacro %}

{# Most have no escapes, and a text is cut sooner than read. #}
{% macro duckdb__is_json_string_without(text, pattern) -%}
    {% set pattern = pattern | replace("'", "''") -%}
    {{ revetl.is_json(text, 'string') }} and (
        (not contains({{ text }}, '\') and not {{ revetl.matches('substr(' ~ text ~ ', 2, length(' ~ text ~ ') - 2)', pattern) }})
        or (contains({{ text }}, '\') and not {{ revetl.matches(revetl.json_string(text), pattern) }})
    )
{%- endmacro %}

{# Whether a JSON text is one of these strings. #}
{% macro is_json_string_of(text, strings) -%}
    {{ return(adapter.dispatch('is_json_string_of', 'revetl')(text, strings)) }}
{%- endmacro %}

{% macro default__is_json_string_of(text, strings) -%}
    {{ revetl.is_json(text, 'string') }} and {{ revetl.json_string(text) }} in ({{ revetl.text_literals(strings) }})
{%- endmacro %}

{# It writes a string in one way, so the texts can be compared as they are. #}
{% macro duckdb__is_json_string_of(text, strings) -%}
    {% set texts = [] -%}
    {% for string in strings -%}
        {% do texts.append('"' ~ string | replace('\\', '\\\\') | replace('"', '\\"') ~ '"') -%}
    {% endfor -%}
    {{ text }} in ({{ revetl.text_literals(texts) }})
{%- endmacro %}

{# Texts as SQL writes them, with commas. #}
{% macro text_literals(texts) -%}
    {% set literals = [] -%}
    {% for text in texts -%}
        {% do literals.append(revetl.text_literal(text)) -%}
    {% endfor -%}
    {{ return(literals | join(', ')) }}
{%- endmacro %}

{# Whether a JSON text is an object that has other members than these. #}
{% macro has_other_members(text, names) -%}
    {{ return(adapter.dispatch('has_other_members', 'revetl')(text, names)) }}
{%- endmacro %}

{% macro default__has_other_members(text, names) -%}
    {{ revetl.is_json(text, 'object') }} and exists (
        select 1 from (select 1 as one) as row_of_one {{ revetl.join_json_members(text, 'member') }}
        {{ 'where ' ~ revetl.json_member_name('member') ~ ' not in (' ~ revetl.text_literals(names) ~ ')' if names }}
    )
{%- endmacro %}

{% macro duckdb__has_other_members(text, names) -%}
    ({{ revetl.is_json(text, 'object') }} and not list_has_all(cast([{{ revetl.text_literals(names) }}] as varchar []), json_keys({{ text }})))
{%- endmacro %}

{% macro postgres__has_other_members(text, names) -%}
    case
        when {{ revetl.is_json(text, 'object') }}
            then cast({{ text }} as jsonb) - cast(array[{{ revetl.text_literals(names) }}] as text []) <> cast('{}' as jsonb)
    end
{%- endmacro %}

{% macro redshift__has_other_members(text, names) -%}
    {{ revetl.is_json(text, 'object') }} and exists (
        select 1 from unpivot json_parse({{ text }}) as member_content at member_name
        {{ 'where cast(member_name as varchar(65535)) not in (' ~ revetl.text_literals(names) ~ ')' if names }}
    )
{%- endmacro %}

{% macro snowflake__has_other_members(text, names) -%}
    (
        {{ revetl.is_json(text, 'object') }}
        and array_size(array_except(object_keys(parse_json({{ text }})), array_construct({{ revetl.text_literals(names) }}))) > 0
    )
{%- endmacro %}

{% macro bigquery__has_other_members(text, names) -%}
    exists (
        select 1 from unnest(json_keys(safe.parse_json({{ text }}, wide_number_mode => 'round'), 1)) as name
        {{ 'where name not in (' ~ revetl.text_literals(names) ~ ')' if names }}
    )
{%- endmacro %}

{% macro spark__has_other_members(text, names) -%}
    size(array_except(json_object_keys({{ text }}), cast(array({{ revetl.text_literals(names) }}) as array<string>))) > 0
{%- endmacro %}
