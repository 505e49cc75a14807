{# A member of a JSON object as text; null where it is absent or JSON's null. #}
{% macro json_text(document, name) -%}
    {{ return(adapter.dispatch('json_text', 'revetl')(document, name)) }}
{%- endmacro %}

{% macro default__json_text(document, name) -%}
    ({{ document }} ->> '{{ name }}')
{%- endmacro %}

{# A number as DuckDB writes it: 1.10 is `1.1`. #}
{% macro postgres__json_text(document, name) -%}
    {% set member = revetl.postgres_json(document) ~ " -> '" ~ name | replace("'", "''") ~ "'" -%}
    (case
        when jsonb_typeof({{ member }}) = 'number'
            then regexp_replace(({{ member }}) #>> '{}', '(\.[0-9]+?)0+$', '\1')
        else ({{ member }}) #>> '{}'
    end)
{%- endmacro %}

{# A document as jsonb, whichever of the two types it has. #}
{% macro postgres_json(document) -%}
    cast({{ document }} as jsonb)
{%- endmacro %}

{% macro duckdb__json_text(document, name) -%}
    ({{ document }} ->> '$."{{ name }}"')
{%- endmacro %}

{# Its cast of JSON's null is null. #}
{% macro snowflake__json_text(document, name) -%}
    cast({{ document }}:"{{ name }}" as varchar)
{%- endmacro %}

{% macro bigquery__json_text(document, name) -%}
    {{ revetl.json_path_text(document, name) }}
{%- endmacro %}

{% macro redshift__json_text(document, name) -%}
    {{ revetl.json_path_text(document, name) }}
{%- endmacro %}

{% macro spark__json_text(document, name) -%}
    {{ revetl.spark_json_text(document, [name]) }}
{%- endmacro %}

{# By its path in a document, as get_json_object gives it: nested JSON is compact, and a number is read and written
   again. Where Java would write it with an exponent, and DuckDB not, its digits are written; a text that looks so stays
   as it is. #}
{% macro spark_json_text(document, names) -%}
    {% set read = namespace(path='$', type='double', member='') -%}
    {% for name in names -%}
        {% set read.path = read.path ~ ("['" ~ name ~ "']" if '.' in name or '[' in name else '.' ~ name) -%}
        {% set read.member = read.member ~ '.`' ~ name | replace('`', '``') ~ '`' -%}
    {% endfor -%}
    {% for name in names | reverse -%}
        {% set read.type = 'struct<`' ~ name | replace('`', '``') ~ '`:' ~ read.type ~ '>' -%}
    {% endfor -%}
    {% set text = 'get_json_object(' ~ document ~ ', ' ~ revetl.text_literal(read.path) ~ ')' -%}
    case
        when
            regexp_like({{ text }}, '^-?[0-9][.][0-9]+E-?[0-9]+$')
            and from_json({{ document }}, {{ revetl.text_literal(read.type) }}){{ read.member }} is not null
            then case
                when regexp_like({{ text }}, 'E(-[456]|[789]|1[0-9]|20)$')
                    then regexp_replace(
                        coalesce(
                            cast(try_cast({{ text }} as decimal(38, 24)) as string),
                            cast(try_cast({{ text }} as decimal(38, 17)) as string)
                        ),
                        '([.][0-9]+?)0+$',
                        '$1'
                    )
                else regexp_replace({{ text }}, '([.]0)?E', 'e')
            end
        else {{ text }}
    end
{%- endmacro %}

{% macro fabric__json_text(document, name) -%}
    {{ revetl.json_path_text(document, name) }}
{%- endmacro %}

{# The same as an exact number; null where it is none. #}
{% macro json_decimal(document, name) -%}
    {{ revetl.decimal_of(revetl.json_text(document, name)) }}
{%- endmacro %}

{# Text as JSON. #}
{% macro as_json(text) -%}
    {{ return(adapter.dispatch('as_json', 'revetl')(text)) }}
{%- endmacro %}

{% macro default__as_json(text) -%}
    cast({{ text }} as {{ revetl.type_of('json') }})
{%- endmacro %}

{% macro snowflake__as_json(text) -%}
    parse_json({{ text }})
{%- endmacro %}

{# A number that a double-precision one cannot hold is an error, where it is not to be rounded. #}
{% macro bigquery__as_json(text) -%}
    parse_json({{ text }}, wide_number_mode => 'round')
{%- endmacro %}

{% macro redshift__as_json(text) -%}
    json_parse({{ text }})
{%- endmacro %}

{# Text as JSON; null where it is none. #}
{% macro json_if_valid(text) -%}
    {{ return(adapter.dispatch('json_if_valid', 'revetl')(text)) }}
{%- endmacro %}

{% macro default__json_if_valid(text) -%}
    try_cast({{ text }} as {{ revetl.type_of('json') }})
{%- endmacro %}

{# DuckDB also takes NaN, Infinity and a comma after the last element, which are not JSON. #}
{% macro duckdb__json_if_valid(text) -%}
    case
        when not regexp_matches(
            regexp_replace({{ text }}, '"(\\.|[^"\\])*"', '""', 'g'), '(?i)nan|inf|,\s*[\]}]'
        ) then try_cast({{ text }} as {{ revetl.type_of('json') }})
    end
{%- endmacro %}

{# Before its version 16, which can be asked, only what begins and ends as a document does is taken for one. #}
{% macro postgres__json_if_valid(text) -%}
    {% set version = run_query("select current_setting('server_version_num')").rows[0][0] | int if execute else 160000 -%}
    {% set condition = "pg_input_is_valid(" ~ text ~ ", 'jsonb')" if version >= 160000
        else text ~ " ~ '^(\\{.*\\}|\\[.*\\]|true|false|-?(0|[1-9][0-9]*)(\\.[0-9]+)?)$'" -%}
    case when {{ condition }} then cast({{ text }} as jsonb) end
{%- endmacro %}

{% macro snowflake__json_if_valid(text) -%}
    try_parse_json({{ text }})
{%- endmacro %}

{% macro bigquery__json_if_valid(text) -%}
    safe.parse_json({{ text }}, wide_number_mode => 'round')
{%- endmacro %}

{% macro redshift__json_if_valid(text) -%}
    case when can_json_parse({{ text }}) then json_parse({{ text }}) end
{%- endmacro %}

{% macro spark__json_if_valid(text) -%}
    case when get_json_object({{ text }}, '$') is not null then {{ text }} end
{%- endmacro %}

{% macro fabric__json_if_valid(text) -%}
    case when isjson({{ text }}, value) = 1 then {{ text }} end
{%- endmacro %}

{# A join to the elements of a JSON array, one row an element, as JSON in the column `element`. #}
{% macro join_json_elements(document, name, alias) -%}
    {{ return(adapter.dispatch('join_json_elements', 'revetl')(document, name, alias)) }}
{%- endmacro %}

{% macro default__join_json_elements(document, name, alias) -%}
    cross join lateral jsonb_array_elements({{ document }} -> '{{ name }}') as {{ alias }} (element)
{%- endmacro %}

{% macro postgres__join_json_elements(document, name, alias) -%}
    {% set member = revetl.postgres_json(document) ~ " -> '" ~ name ~ "'" -%}
    cross join lateral jsonb_array_elements(
        case when jsonb_typeof({{ member }}) = 'array' then {{ member }} end
    ) as {{ alias }} (element)
{%- endmacro %}

{% macro duckdb__join_json_elements(document, name, alias) -%}
    cross join unnest(try_cast({{ document }} -> '$."{{ name }}"' as json [])) as {{ alias }} (element)
{%- endmacro %}

{% macro snowflake__join_json_elements(document, name, alias) -%}
    {% set member = document ~ ':"' ~ name ~ '"' -%}
    cross join lateral flatten(input => case when is_array({{ member }}) then {{ member }} end) as {{ alias }}
{%- endmacro %}

{% macro bigquery__join_json_elements(document, name, alias) -%}
    cross join unnest(json_query_array({{ document }}, '$."{{ name }}"')) as {{ alias }}
{%- endmacro %}

{% macro redshift__join_json_elements(document, name, alias) -%}
    , {{ document }}."{{ name }}" as {{ alias }}
{%- endmacro %}

{# What is no array has no elements. #}
{% macro spark__join_json_elements(document, name, alias) -%}
    {% set member = '`' ~ name | replace('`', '``') ~ '`' -%}
    cross join lateral explode(
        from_json({{ document }}, {{ revetl.text_literal('struct<' ~ member ~ ':array<string>>') }}).{{ member }}
    ) as {{ alias }} (element)
{%- endmacro %}

{% macro fabric__join_json_elements(document, name, alias) -%}
    cross apply openjson({{ document }}, '$."{{ name }}"') as {{ alias }}
{%- endmacro %}

{# What `join_json_elements` calls an element. #}
{% macro json_element(alias) -%}
    {{ return(adapter.dispatch('json_element', 'revetl')(alias)) }}
{%- endmacro %}

{% macro default__json_element(alias) -%}
    {{ alias }}.element
{%- endmacro %}

{% macro snowflake__json_element(alias) -%}
    {{ alias }}.value
{%- endmacro %}

{% macro bigquery__json_element(alias) -%}
    {{ alias }}
{%- endmacro %}

{% macro redshift__json_element(alias) -%}
    {{ alias }}
{%- endmacro %}

{% macro fabric__json_element(alias) -%}
    {{ alias }}.value
{%- endmacro %}

{# A member somewhere inside a JSON object as text, by its path: `device.advertisingId`. #}
{% macro json_path_text(document, path) -%}
    {{ return(adapter.dispatch('json_path_text', 'revetl')(document, path)) }}
{%- endmacro %}

{% macro default__json_path_text(document, path) -%}
    ({{ document }} #>> '{{ '{' ~ path.split('.') | join(',') ~ '}' }}')
{%- endmacro %}

{% macro postgres__json_path_text(document, path) -%}
    {% set names = path.split('.') -%}
    {% set inside = namespace(sql=document) -%}
    {% for name in names[:-1] -%}
        {% set inside.sql = '(' ~ revetl.postgres_json(inside.sql) ~ " -> '" ~ name | replace("'", "''") ~ "')" -%}
    {% endfor -%}
    {{ revetl.json_text(inside.sql, names[-1]) }}
{%- endmacro %}

{% macro duckdb__json_path_text(document, path) -%}
    ({{ document }} ->> '$."{{ path.split('.') | join('"."') }}"')
{%- endmacro %}

{% macro snowflake__json_path_text(document, path) -%}
    {{ revetl.json_text(document, path.split('.') | join('"."')) }}
{%- endmacro %}

{# One function gives single values, and another gives the rest. #}
{% macro bigquery__json_path_text(document, path) -%}
    {% set place = "'$.\"" ~ path.split('.') | join('"."') ~ "\"'" -%}
    coalesce(json_value({{ document }}, {{ place }}), nullif(to_json_string(json_query({{ document }}, {{ place }})), 'null'))
{%- endmacro %}

{# By the text, as names in a path of the document itself are compared in lower case, unless the session says
   otherwise. An empty text is null, for what is absent has been given as one. #}
{% macro redshift__json_path_text(document, path) -%}
    nullif(json_extract_path_text(json_serialize({{ document }}), '{{ path.split('.') | join("', '") }}'), '')
{%- endmacro %}

{% macro spark__json_path_text(document, path) -%}
    {{ revetl.spark_json_text(document, path.split('.')) }}
{%- endmacro %}

{% macro fabric__json_path_text(document, path) -%}
    {% set place = "'$.\"" ~ path.split('.') | join('"."') ~ "\"'" -%}
    coalesce(json_value({{ document }}, {{ place }}), json_query({{ document }}, {{ place }}))
{%- endmacro %}
